#include "kernels/bm25.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* lengths,
                       std::uint32_t first_row, float weight, LengthNorm norm, float* scores) {
    RUVLLM_DISPATCH(add_sparse_scores)(postings, num_postings, lengths, first_row, weight, norm, scores);
}

void add_dense_scores(const std::uint8_t* tfs, const float* lengths, std::size_t num_rows, float weight,
                      LengthNorm norm, float* scores) {
    RUVLLM_DISPATCH(add_dense_scores)(tfs, lengths, num_rows, weight, norm, scores);
}

std::size_t rows_at_least(const float* scores, std::size_t num_rows, float at_least, std::uint32_t* rows) {
    return RUVLLM_DISPATCH(rows_at_least)(scores, num_rows, at_least, rows);
}

}  // namespace ruvllm::kernels
