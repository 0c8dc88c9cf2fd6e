// A shared mutex under which neither side starves.
#pragma once

#include <atomic>
#include <shared_mutex>

namespace ruvllm::engines {

// Readers never wait for readers. std::shared_mutex on glibc lets new readers pass a waiting writer, so under constant
// reading a writer would never get in: here, while a writer waits for the readers inside, new ones wait at the door. It
// opens as soon as the writer has the lock, and the readers who then queue come before the next writer.
// At most one writer at a time may call lock(). Meets SharedLockable: use std::shared_lock and std::unique_lock.
class ReadersWriterLock {
  public:
    void lock() {
        writer_waits_.store(true, std::memory_order_relaxed);
        mutex_.lock();
        writer_waits_.store(false, std::memory_order_relaxed);
        writer_waits_.notify_all();
    }
    void unlock() { mutex_.unlock(); }

    void lock_shared() {
        writer_waits_.wait(true, std::memory_order_relaxed);
        mutex_.lock_shared();
    }
    void unlock_shared() { mutex_.unlock_shared(); }

  private:
    std::shared_mutex mutex_;
    std::atomic<bool> writer_waits_{false};
};

}  // namespace ruvllm::engines
