#include "runtime/thread_pool.hpp"

#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ruvllm::runtime {
namespace {

// Rounds of waiting before sleeping: some 100 us, longer than what lies between two pieces of work of one token and
// shorter than anyone would notice of a processor.
constexpr int kSpins = 4000;

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(std::size_t num_threads)
    : num_threads_(num_threads), threads_(std::make_unique<std::vector<std::thread>>()), owner_(::getpid()) {
    try {
        for (std::size_t i = 1; i < num_threads; ++i) threads_->emplace_back([this, i] { serve(i); });
    } catch (...) {
        close();
        throw;
    }
}

ThreadPool::~ThreadPool() {
    if (::getpid() == owner_) {
        close();
    } else {
        static_cast<void>(threads_.release());
    }
}

void ThreadPool::close() {
    is_closing_ = true;
    started_.fetch_add(1, std::memory_order_release);
    started_.notify_all();
    for (std::thread& thread : *threads_) thread.join();
}

void ThreadPool::run_all(Function function, void* work) {
    if (num_threads_ == 1 || ::getpid() != owner_) {
        for (std::size_t thread = 0; thread < num_threads_; ++thread) function(work, thread);
        return;
    }
    function_ = function;
    work_ = work;
    running_.store(static_cast<std::uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
    started_.fetch_add(1, std::memory_order_release);
    started_.notify_all();
    function(work, 0);
    for (int spins = 0; running_.load(std::memory_order_acquire) != 0; ++spins) {
        if (spins < kSpins) {
            relax();
        } else {
            std::this_thread::yield();
        }
    }
}

void ThreadPool::serve(std::size_t thread) {
    for (std::uint32_t seen = 0;; ++seen) {
        for (int spins = 0; started_.load(std::memory_order_acquire) == seen; ++spins) {
            if (spins < kSpins) {
                relax();
            } else {
                started_.wait(seen, std::memory_order_acquire);
            }
        }
        if (is_closing_) return;
        function_(work_, thread);
        running_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace ruvllm::runtime
