// The arithmetic of BM25: what one term of a query adds to the scores of a window of documents.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// A posting says in 32 bits which row holds a term (upper 24) and how often (lower 8, in [1, 255]).
inline constexpr unsigned kTfBits = 8;

// k1 (1 - b + b length / average length) as a line in the length. The slope is above 0 even where b is not, so that an
// infinite length has an infinite norm.
struct LengthNorm {
    float at_zero, slope;
    float operator()(float length) const { return at_zero + slope * length; }
};

// A term adds weight * tf / (tf + norm(length)) to a document's score: weight = count in the query * idf * (k1 + 1); an
// infinite length takes a document out of every answer.
// Products, sums and quotients are rounded one by one, in float32 and never fused (what includes this is compiled with
// -ffp-contract=off), so that every variant, and a single document scored elsewhere, gives the same bits.
inline float bm25_score(float weight, float tf, float norm) { return weight * tf / (tf + norm); }

// Adds a term's score to every document it occurs in.
//   postings   (num_postings,) of distinct rows >= first_row
//   lengths    (rows,) float32 >= 0 or +infinity, by row, from row 0 on
//   scores     float32 in and out: scores[row - first_row] += bm25_score(weight, tf, norm(lengths[row]))
RUVLLM_KERNEL(void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* lengths,
                                     std::uint32_t first_row, float weight, LengthNorm norm, float* scores))

// The same for a term that is stored as one count a row.
//   tfs, lengths, scores  (num_rows,): a count of 0 adds 0
RUVLLM_KERNEL(void add_dense_scores(const std::uint8_t* tfs, const float* lengths, std::size_t num_rows, float weight,
                                    LengthNorm norm, float* scores))

// Finds every i with scores[i] >= at_least; returns how many there are.
//   scores  (num_rows,) float32
//   rows    (num_rows,) out: the first entries are those i, ascending
RUVLLM_KERNEL(std::size_t rows_at_least(const float* scores, std::size_t num_rows, float at_least, std::uint32_t* rows))

}  // namespace ruvllm::kernels
