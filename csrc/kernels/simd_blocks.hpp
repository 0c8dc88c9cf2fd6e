// Blocks of kLanes rows, transposed, so that a lane is a row. For the files compiled once per instruction set.
#pragma once

#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

// block (cols, kLanes) = the transpose of rows [0, count) of `matrix`, which are `cols` long.
inline void load_transposed(const float* matrix, std::size_t count, std::size_t cols, float* block) {
    for (std::size_t first = 0; first < cols; first += kLanes) {
        const std::size_t width = first + kLanes <= cols ? kLanes : cols - first;
        F32 tile[kLanes];
        for (std::size_t i = 0; i < count; ++i) {
            const float* row = matrix + i * cols + first;
            tile[i] = width == kLanes ? load(row) : load(row, first_lanes(width));
        }
        for (std::size_t i = count; i < kLanes; ++i) tile[i] = zeros();
        transpose(tile);
        for (std::size_t j = 0; j < width; ++j) store(block + (first + j) * kLanes, tile[j]);
    }
}

// Rows [0, count) of `matrix` = the transpose of block (cols, kLanes).
inline void store_transposed(const float* block, std::size_t count, std::size_t cols, float* matrix) {
    for (std::size_t first = 0; first < cols; first += kLanes) {
        const std::size_t width = first + kLanes <= cols ? kLanes : cols - first;
        F32 tile[kLanes];
        for (std::size_t j = 0; j < kLanes; ++j) tile[j] = j < width ? load(block + (first + j) * kLanes) : zeros();
        transpose(tile);
        for (std::size_t i = 0; i < count; ++i) {
            float* row = matrix + i * cols + first;
            if (width == kLanes) {
                store(row, tile[i]);
            } else {
                store(row, tile[i], first_lanes(width));
            }
        }
    }
}

}  // namespace
}  // namespace ruvllm::kernels::RUVLLM_VARIANT
