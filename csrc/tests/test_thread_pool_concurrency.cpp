// Threads that share work, for the thread sanitizer too. Returns 1 when anything failed.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/thread_pool.hpp"

using ruvllm::runtime::ThreadPool;

namespace {

std::atomic<int> failures = 0;

void expect(bool statement, const char* what) {
    if (!statement && failures.fetch_add(1) < 20) std::printf("FAILED %s\n", what);
}

bool are_all(const std::vector<long>& values, long wanted) {
    return std::all_of(values.begin(), values.end(), [wanted](long value) { return value == wanted; });
}

// Longer than threads spin for.
void let_fall_asleep() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

// What the threads read and write is not atomic: the thread sanitizer sees a piece of work that starts before the one
// before it has ended, and a caller that goes on too early.
void test_many_small_runs(std::size_t num_threads, long rounds) {
    ThreadPool pool(num_threads);
    std::vector<long> runs(num_threads, 0), seen(num_threads, 0);
    expect(pool.size() == num_threads, "size");
    for (long round = 1; round <= rounds; ++round) {
        pool.run([&](std::size_t thread) {
            ++runs[thread];
            seen[thread] = round;
        });
        expect(are_all(runs, round), "each thread exactly once a run");
        expect(are_all(seen, round), "each run has its own work");
    }
}

void test_split(std::size_t num_threads) {
    ThreadPool pool(num_threads);
    for (const std::size_t count : {0, 1, 2, 3, 4, 5, 7, 16, 1000}) {
        std::vector<long> visits(count, 0);
        std::atomic<std::size_t> parts = 0;
        pool.split(count, [&](std::size_t first, std::size_t end) {
            expect(first < end && end <= count, "a part has entries");
            ++parts;
            for (std::size_t i = first; i < end; ++i) ++visits[i];
        });
        expect(are_all(visits, 1), "split covers every entry once");
        expect(parts <= num_threads, "at most a part a thread");
    }
}

void test_each(std::size_t num_threads) {
    ThreadPool pool(num_threads);
    for (const std::size_t count : {0, 1, 5, 1000}) {
        std::vector<long> visits(count, 0), by_thread(num_threads, 0);
        pool.each(count, [&](std::size_t task, std::size_t thread) {
            ++visits[task];
            ++by_thread[thread];
        });
        long total = 0;
        for (const long tasks : by_thread) total += tasks;
        expect(are_all(visits, 1), "each task once");
        expect(total == static_cast<long>(count), "each task by a thread of the pool");
    }
}

void test_reuse_after_sleeping(std::size_t num_threads) {
    ThreadPool pool(num_threads);
    std::vector<long> runs(num_threads, 0);
    for (long round = 1; round <= 20; ++round) {
        let_fall_asleep();
        pool.run([&](std::size_t thread) { ++runs[thread]; });
        expect(are_all(runs, round), "sleepers wake up for work");
    }
}

// Never ends when a thread is not woken.
void test_destruction(std::size_t num_threads) {
    for (int round = 0; round < 20; ++round) {
        { const ThreadPool never_used(num_threads); }
        {
            const ThreadPool asleep(num_threads);
            let_fall_asleep();
        }
        ThreadPool just_used(num_threads);
        just_used.run([](std::size_t) {});
    }
}

void test_a_forked_child_works_alone() {
    auto pool = std::make_unique<ThreadPool>(3);
    pool->run([](std::size_t) {});
    const pid_t child = ::fork();
    if (child == 0) {
        std::vector<long> runs(3, 0);
        pool->run([&](std::size_t thread) { ++runs[thread]; });
        pool.reset();
        ::_exit(are_all(runs, 1) ? 0 : 1);
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    expect(child > 0 && status == 0, "a child of a fork does the threads' work itself");
}

}  // namespace

int main() {
    test_many_small_runs(1, 2000);
    test_many_small_runs(2, 2000);
    test_many_small_runs(5, 300);
    for (const std::size_t num_threads : {1, 2, 3, 8}) {
        test_split(num_threads);
        test_each(num_threads);
    }
    test_reuse_after_sleeping(3);
    test_destruction(3);
    test_a_forked_child_works_alone();
    std::printf("%d failures\n", failures.load());
    return failures == 0 ? 0 : 1;
}
