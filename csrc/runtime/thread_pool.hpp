// Threads that share one piece of work at a time: they spin briefly for the next piece, then sleep.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace ruvllm::runtime {

// One caller at a time; what it passes must not throw.
class ThreadPool {
  public:
    // num_threads >= 1, the caller among them. Throws std::system_error when they cannot be started.
    explicit ThreadPool(std::size_t num_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    std::size_t size() const { return num_threads_; }

    // f(thread) once for each thread in [0, size()), beside each other; returns when all have.
    template <typename F>
    void run(F&& f) {
        using Work = std::remove_reference_t<F>;
        run_all([](void* work, std::size_t thread) { (*static_cast<Work*>(work))(thread); }, &f);
    }

    // f(first, end) or f(first, end, thread) over [0, count) in contiguous parts, one a thread.
    template <typename F>
    void split(std::size_t count, F&& f) {
        const auto part = [&](std::size_t first, std::size_t end, std::size_t thread) {
            if (first == end) return;
            if constexpr (std::is_invocable_v<F, std::size_t, std::size_t, std::size_t>) {
                f(first, end, thread);
            } else {
                f(first, end);
            }
        };
        if (num_threads_ == 1 || count < 2) return part(0, count, 0);
        run([&](std::size_t thread) {
            part(count * thread / num_threads_, count * (thread + 1) / num_threads_, thread);
        });
    }

    // f(first, end) over [0, count): each thread walks over its own three quarters of a fair part, then what is left is
    // taken in steps by whoever is free, so that a thread that was held up holds up nobody.
    template <typename F>
    void share(std::size_t count, std::size_t step, F&& f) {
        const std::size_t own = num_threads_ == 1 ? count : count * 3 / (4 * num_threads_);
        if (own == 0 || own == count) {
            if (count > 0) f(std::size_t{0}, count);
            return;
        }
        std::atomic<std::size_t> next{own * num_threads_};
        run([&](std::size_t thread) {
            f(own * thread, own * (thread + 1));
            for (std::size_t first; (first = next.fetch_add(step, std::memory_order_relaxed)) < count;) {
                f(first, first + step < count ? first + step : count);
            }
        });
    }

    // f(task, thread) for each task in [0, count), taken by whoever is free.
    template <typename F>
    void each(std::size_t count, F&& f) {
        std::atomic<std::size_t> next{0};
        run([&](std::size_t thread) {
            for (std::size_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;) f(task, thread);
        });
    }

  private:
    using Function = void (*)(void*, std::size_t);

    void run_all(Function function, void* work);
    void serve(std::size_t thread);
    void close();

    std::size_t num_threads_;
    Function function_ = nullptr;
    void* work_ = nullptr;
    bool is_closing_ = false;
    alignas(64) std::atomic<std::uint32_t> started_{0};  // pieces of work handed out
    alignas(64) std::atomic<std::uint32_t> running_{0};  // threads still at work on the last one
    std::unique_ptr<std::vector<std::thread>> threads_;
    int owner_;  // process: after a fork the threads are gone, and what stood for them must not be touched
};

}  // namespace ruvllm::runtime
