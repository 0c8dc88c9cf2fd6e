// Numbers of 16 bits (IEEE 754 binary16, numpy's float16) as they are stored; arithmetic is on float32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// Chosen rows as float32, exactly.
//   halves  (n, dim) float16, row-major
//   rows    (num_rows,) int64 indices into `halves`, each in [0, n); null stands for 0, 1, 2, ...
//   out     (num_rows, dim) float32, out: out[i] = halves[rows[i]]
RUVLLM_KERNEL(void widen_rows(const std::uint16_t* halves, const std::int64_t* rows, std::size_t num_rows,
                              std::size_t dim, float* out))

}  // namespace ruvllm::kernels
