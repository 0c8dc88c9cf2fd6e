// Memory for a model's weights: taken piece by piece, given back together. In large pages, because a pass walks over
// all of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/aligned.hpp"

namespace ruvllm::runtime {

class Arena {
  public:
    // `size` bytes aligned to 64, left unset. Throws std::bad_alloc.
    std::uint8_t* take(std::size_t size) {
        size = (size + 63) / 64 * 64;
        if (size > left_) {
            left_ = std::max(size, kChunk);
            chunks_.emplace_back(left_);
            next_ = chunks_.back().data();
        }
        std::uint8_t* start = next_;
        next_ += size;
        left_ -= size;
        return start;
    }

  private:
    static constexpr std::size_t kChunk = std::size_t{32} << 20;  // what is never written costs address space only

    std::vector<engines::AlignedBuffer<std::uint8_t>> chunks_;
    std::uint8_t* next_ = nullptr;
    std::size_t left_ = 0;
};

}  // namespace ruvllm::runtime
