// The arithmetic of exact top-k search: inner products of many rows with a few queries.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// Inner product of every query with every chosen row.
//   vectors  (n, dim) float32, row-major
//   rows     (num_rows + num_ahead,) int64 indices into `vectors`, each in [0, n); null stands for 0, 1, 2, ...
//            The first num_rows are chosen; the others come next, and may be fetched into the cache meanwhile.
//   queries  (num_queries, dim) float32, row-major
//   scores   (num_queries, num_rows) float32, out: scores[q, i] = queries[q] . vectors[rows[i]]
// A score depends on its row and its query only, never on what else is in the call: each pair has one accumulator,
// filled in the order of the dimensions. So any blocking and any number of threads give the same bits.
RUVLLM_KERNEL(void inner_products(const float* vectors, const std::int64_t* rows, std::size_t num_rows,
                                  std::size_t num_ahead, const float* queries, std::size_t num_queries, std::size_t dim, float* scores))

// Index of the first score at or behind `first` that is not below `threshold`, a NaN among them; n when there is none.
//   scores  (n,) float32; first <= n
RUVLLM_KERNEL(std::size_t next_not_below(const float* scores, std::size_t first, std::size_t n, float threshold))

// Index of the first row of `vectors` (num_rows, dim) that holds a NaN or an infinity; num_rows when there is none.
RUVLLM_KERNEL(std::size_t first_bad_row(const float* vectors, std::size_t num_rows, std::size_t dim))

}  // namespace ruvllm::kernels
