// Exact top-k search by inner product over float32 or float16 rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ruvllm::engines {

// What is searched, and for what. Everything is row-major and finite; nothing is owned.
struct ExactSearch {
    const float* vectors;         // (n, dim); null when the rows are `halves`
    const std::uint16_t* halves;  // (n, dim) float16
    const std::int64_t* rows;     // (num_rows,) in [0, n), the rows to search; null: rows 0 .. num_rows - 1
    std::size_t num_rows;
    const float* queries;  // (num_queries, dim)
    std::size_t num_queries;
    std::size_t dim;
    std::size_t k;  // 1 <= k <= num_rows
};

// Writes the k best rows of each query, best first; of equal scores the lower row comes first.
//   labels  (num_queries, k) int64, out: indices into `vectors`
//   scores  (num_queries, k) float32, out
// Uses up to `num_threads` threads over the rows; the result is the same, bit for bit, for any number of them.
// Throws std::bad_alloc, or std::system_error when a thread cannot be started.
void exact_search(const ExactSearch& search, std::size_t num_threads, std::int64_t* labels, float* scores);

}  // namespace ruvllm::engines
