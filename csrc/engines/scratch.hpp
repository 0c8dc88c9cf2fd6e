// Scratch memory of the calling thread, for calls too short to allocate.
#pragma once

#include <cstddef>

#include "engines/aligned.hpp"

namespace ruvllm::engines {

inline constexpr std::size_t kKeptScratchBytes = std::size_t{4} << 20;  // of one kind, in every thread that called

template <typename Number>
void keep_if_small(AlignedBuffer<Number>& memory) {
    if (memory.size() > kKeptScratchBytes / sizeof(Number)) memory = {};
}

// `size` numbers for one call. The thread keeps the memory for its next call unless it is large; one at a time.
template <typename Number>
class ThreadScratch {
  public:
    explicit ThreadScratch(std::size_t size) { memory().reserve(size); }
    ~ThreadScratch() { keep_if_small(memory()); }
    ThreadScratch(const ThreadScratch&) = delete;
    ThreadScratch& operator=(const ThreadScratch&) = delete;

    Number* data() const { return memory().data(); }

  private:
    static AlignedBuffer<Number>& memory() {
        thread_local AlignedBuffer<Number> kept;
        return kept;
    }
};

}  // namespace ruvllm::engines
