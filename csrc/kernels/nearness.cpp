// Inner products have their own variants; beside them there is little to do.
#include "kernels/nearness.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/exact_search.hpp"

namespace ruvllm::kernels {
namespace {

constexpr float kTiny = 1e-6f;  // added to a length: of a question that a candidate repeats nothing is left

// Fills `left` with a - factor b; returns its length.
float subtract(const float* a, float factor, const float* b, std::size_t dim, float* left) {
    float square = 0.0f;
    for (std::size_t d = 0; d < dim; ++d) {
        left[d] = a[d] - factor * b[d];
        square += left[d] * left[d];
    }
    return std::sqrt(square);
}

}  // namespace

void nearness(const NearnessInputs& in, std::int64_t* row_of, float* scratch, float* similarity, float* rest) {
    float *products = scratch, *left = products + in.num_known;
    std::fill_n(row_of, in.n, std::int64_t{-1});
    std::fill_n(similarity, in.n, 0.0f);
    std::fill_n(rest, in.n, 0.0f);
    inner_products(in.vectors, nullptr, in.num_known, 0, in.question, 1, in.dim, products);
    for (std::size_t k = 0; k < in.num_known; ++k) {
        row_of[in.known[k]] = static_cast<std::int64_t>(k);
        similarity[in.known[k]] = products[k];
    }
    for (std::size_t s = 0; s < std::min(in.num_strong, in.n); ++s) {
        if (row_of[s] < 0) continue;
        const float* vector = in.vectors + static_cast<std::size_t>(row_of[s]) * in.dim;
        const float length = subtract(in.question, similarity[s], vector, in.dim, left) + kTiny;
        for (std::int64_t e = in.indptr[s]; e < in.indptr[s + 1]; ++e) {
            const std::int32_t i = in.indices[e];
            if (row_of[i] < 0) continue;
            float product = 0.0f;
            inner_products(in.vectors, row_of + i, 1, 0, left, 1, in.dim, &product);
            rest[i] = std::max(rest[i], product / length);
        }
    }
}

}  // namespace ruvllm::kernels
