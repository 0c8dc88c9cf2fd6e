// The definition: plain loops.
#include "kernels/bm25.hpp"

namespace ruvllm::kernels::scalar {

void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* lengths,
                       std::uint32_t first_row, float weight, LengthNorm norm, float* scores) {
    for (std::size_t i = 0; i < num_postings; ++i) {
        const std::uint32_t row = postings[i] >> kTfBits;
        const auto tf = static_cast<float>(postings[i] & ((1u << kTfBits) - 1u));
        scores[row - first_row] += bm25_score(weight, tf, norm(lengths[row]));
    }
}

void add_dense_scores(const std::uint8_t* tfs, const float* lengths, std::size_t num_rows, float weight,
                      LengthNorm norm, float* scores) {
    for (std::size_t i = 0; i < num_rows; ++i) {
        if (tfs[i] > 0) scores[i] += bm25_score(weight, static_cast<float>(tfs[i]), norm(lengths[i]));
    }
}

std::size_t rows_at_least(const float* scores, std::size_t num_rows, float at_least, std::uint32_t* rows) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < num_rows; ++i) {
        if (scores[i] >= at_least) rows[count++] = static_cast<std::uint32_t>(i);
    }
    return count;
}

}  // namespace ruvllm::kernels::scalar
