// The arithmetic of BM25: what one term of a query adds to the scores of a window of documents.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// A posting says in 32 bits which row holds a term (upper 24) and how often (lower 8, in [1, 255]).
inline constexpr unsigned kTfBits = 8;

// A term adds weight * tf / (tf + norm) to a document's score: weight = count in the query * idf * (k1 + 1), and
// norm = k1 (1 - b + b length / average length) of the document; +infinity takes a document out of every answer.
// Products, sums and quotients are rounded one by one, in float32 and never fused, so that every variant, and a single
// document scored elsewhere, gives the same bits.
inline float bm25_score(float weight, float tf, float norm) { return weight * tf / (tf + norm); }

// Adds a term's score to every document it occurs in.
//   postings   (num_postings,) of distinct rows >= first_row
//   norms      (rows,) float32 >= 0 or +infinity, by row
//   scores     float32 in and out: scores[row - first_row] += bm25_score(weight, tf, norms[row])
RUVLLM_KERNEL(void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* norms,
                                     std::uint32_t first_row, float weight, float* scores))

// The same for a term that is stored as one count a row.
//   tfs, norms, scores  (num_rows,): a count of 0 adds 0
RUVLLM_KERNEL(void add_dense_scores(const std::uint8_t* tfs, const float* norms, std::size_t num_rows, float weight,
                                    float* scores))

// Finds every i with scores[i] >= at_least; returns how many there are.
//   scores  (num_rows,) float32
//   rows    (num_rows,) out: the first entries are those i, ascending
RUVLLM_KERNEL(std::size_t rows_at_least(const float* scores, std::size_t num_rows, float at_least, std::uint32_t* rows))

}  // namespace ruvllm::kernels
