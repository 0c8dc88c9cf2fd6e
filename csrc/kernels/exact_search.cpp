#include "kernels/exact_search.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void inner_products(const float* vectors, const std::int64_t* rows, std::size_t num_rows, std::size_t num_ahead,
                    const float* queries, std::size_t num_queries, std::size_t dim, float* scores) {
    RUVLLM_DISPATCH(inner_products)(vectors, rows, num_rows, num_ahead, queries, num_queries, dim, scores);
}

std::size_t next_not_below(const float* scores, std::size_t first, std::size_t n, float threshold) {
    return RUVLLM_DISPATCH(next_not_below)(scores, first, n, threshold);
}

std::size_t first_bad_row(const float* vectors, std::size_t num_rows, std::size_t dim) {
    return RUVLLM_DISPATCH(first_bad_row)(vectors, num_rows, dim);
}

}  // namespace ruvllm::kernels
