// A lock for many readers or one writer, under which nobody starves.
#pragma once

#include <atomic>
#include <cstdint>

namespace ruvllm::engines {

// Readers never wait for readers. A writer waits for the readers that are inside and for the writers before it, and goes
// before the readers that come later; those wait for that one writer only, and go before the next. std::shared_mutex
// promises none of this: on glibc new readers pass a waiting writer, which under constant reading never gets in.
// Any thread may read or write; none may take the lock that it holds. Up to 2^30 threads.
// Meets SharedLockable: use std::shared_lock and std::unique_lock.
// Source: Brandenburg and Anderson 2010, "Spin-based reader-writer synchronization for multiprocessor real-time systems",
// the phase-fair ticket lock (PF-T), here waiting by std::atomic::wait. All counters may wrap around.
class ReadersWriterLock {
  public:
    void lock() {
        const std::uint32_t turn = next_turn_.fetch_add(1);
        wait_until_equal(turn_, turn);
        wait_until_equal(left_, entered_.fetch_add(kIsWriting | (turn & kPhase)));
    }
    void unlock() {
        entered_.fetch_and(~kWriter);
        entered_.notify_all();
        turn_.fetch_add(1);
        turn_.notify_all();
    }

    void lock_shared() {
        const std::uint32_t writer = entered_.fetch_add(kReader) & kWriter;
        if (writer == 0) return;
        // The phase tells one writer from the next, which waits for this reader.
        for (std::uint32_t now = entered_.load(); (now & kWriter) == writer; now = entered_.load()) entered_.wait(now);
    }
    void unlock_shared() {
        left_.fetch_add(kReader);
        if ((entered_.load() & kWriter) != 0) left_.notify_all();
    }

  private:
    static constexpr std::uint32_t kPhase = 1, kIsWriting = 2, kWriter = kPhase | kIsWriting, kReader = 4;

    static void wait_until_equal(const std::atomic<std::uint32_t>& value, std::uint32_t wanted) {
        for (std::uint32_t now = value.load(); now != wanted; now = value.load()) value.wait(now);
    }

    std::atomic<std::uint32_t> entered_{0};    // readers, in kReader, and the writer that holds or wants the lock
    std::atomic<std::uint32_t> left_{0};       // readers, in kReader
    std::atomic<std::uint32_t> next_turn_{0};  // of writers
    std::atomic<std::uint32_t> turn_{0};
};

}  // namespace ruvllm::engines
