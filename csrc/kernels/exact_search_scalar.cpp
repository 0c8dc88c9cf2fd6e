// The definition: plain loops, float32 accumulators in the order of the dimensions.
#include "kernels/exact_search.hpp"

#include <cmath>

namespace ruvllm::kernels::scalar {

void inner_products(const float* vectors, const std::int64_t* rows, std::size_t num_rows, std::size_t /*num_ahead*/,
                    const float* queries, std::size_t num_queries, std::size_t dim, float* scores) {
    for (std::size_t i = 0; i < num_rows; ++i) {
        const float* row = vectors + (rows ? static_cast<std::size_t>(rows[i]) : i) * dim;
        for (std::size_t q = 0; q < num_queries; ++q) {
            const float* query = queries + q * dim;
            float acc = 0.0f;
            for (std::size_t d = 0; d < dim; ++d) acc += row[d] * query[d];
            scores[q * num_rows + i] = acc;
        }
    }
}

std::size_t next_not_below(const float* scores, std::size_t first, std::size_t n, float threshold) {
    while (first < n && scores[first] < threshold) ++first;
    return first;
}

std::size_t first_bad_row(const float* vectors, std::size_t num_rows, std::size_t dim) {
    for (std::size_t i = 0; i < num_rows * dim; ++i) {
        if (!std::isfinite(vectors[i])) return i / dim;
    }
    return num_rows;
}

}  // namespace ruvllm::kernels::scalar
