// The lock of the engines: readers share, writers are alone, and neither side starves. Returns 1 when anything failed.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "engines/readers_writer_lock.hpp"

using ruvllm::engines::ReadersWriterLock;

namespace {

constexpr std::chrono::microseconds kHold(200);

std::atomic<int> failures = 0;

void expect(bool statement, const char* what) {
    if (statement) return;
    ++failures;
    std::printf("FAILED: %s\n", what);
}

// What the lock guards is not atomic: the thread sanitizer sees two who are inside and should not be.
struct Pair {
    long a = 0, b = 0;
};

void test_many_of_both_kinds() {
    constexpr int kWriters = 3, kReaders = 3, kRounds = 2000;
    ReadersWriterLock lock;
    Pair pair;
    std::vector<std::thread> threads;
    for (int i = 0; i < kWriters; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < kRounds; ++round) {
                const std::unique_lock writing(lock);
                ++pair.a;
                ++pair.b;
            }
        });
    }
    for (int i = 0; i < kReaders; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < kRounds; ++round) {
                const std::shared_lock reading(lock);
                expect(pair.a == pair.b, "a reader sees no half change");
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    expect(pair.a == kWriters * kRounds, "no change is lost");
}

void test_readers_share() {
    ReadersWriterLock lock;
    const std::shared_lock first(lock);
    std::thread([&] { const std::shared_lock second(lock); }).join();
}

// Beside threads of which nearly always one or more hold the lock, another one gets in; this test never ends when not.
template <typename One, typename Many>
void test_gets_in_beside(const Many& many) {
    ReadersWriterLock lock;
    std::atomic<bool> is_done = false;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            while (!is_done) many(lock);
        });
    }
    for (int round = 0; round < 200; ++round) const One inside(lock);
    is_done = true;
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
    test_many_of_both_kinds();
    test_readers_share();
    const auto read = [](ReadersWriterLock& lock) {
        const std::shared_lock reading(lock);
        std::this_thread::sleep_for(kHold);
    };
    const auto write = [](ReadersWriterLock& lock) {
        const std::unique_lock writing(lock);
        std::this_thread::sleep_for(kHold);
    };
    test_gets_in_beside<std::unique_lock<ReadersWriterLock>>(read);
    test_gets_in_beside<std::shared_lock<ReadersWriterLock>>(write);
    std::printf("%d failures\n", failures.load());
    return failures == 0 ? 0 : 1;
}
