// Scratch memory of the calling thread, for calls too short to allocate.
#pragma once

#include "engines/aligned.hpp"

namespace ruvllm::engines {

// At least `size` numbers; the next call in this thread hands out the same memory again.
template <typename Number>
Number* thread_scratch(std::size_t size) {
    thread_local AlignedBuffer<Number> scratch;
    scratch.reserve(size);
    return scratch.data();
}

}  // namespace ruvllm::engines
