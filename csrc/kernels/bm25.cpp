#include "kernels/bm25.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* norms,
                       std::uint32_t first_row, float weight, float* scores) {
    RUVLLM_DISPATCH(add_sparse_scores)(postings, num_postings, norms, first_row, weight, scores);
}

void add_dense_scores(const std::uint8_t* tfs, const float* norms, std::size_t num_rows, float weight, float* scores) {
    RUVLLM_DISPATCH(add_dense_scores)(tfs, norms, num_rows, weight, scores);
}

std::size_t rows_at_least(const float* scores, std::size_t num_rows, float at_least, std::uint32_t* rows) {
    return RUVLLM_DISPATCH(rows_at_least)(scores, num_rows, at_least, rows);
}

}  // namespace ruvllm::kernels
