// Blocks of rows x queries, so that each loaded vector is used several times.
#include "kernels/exact_search.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

constexpr std::size_t kRows = 4, kQueries = kLanes == 16 ? 4 : 2;  // as many accumulators as there are registers for

// scores[q * stride + r] = row[r] . queries[q], one accumulator a pair.
template <std::size_t R, std::size_t Q>
void block(const float* const* row, const float* queries, std::size_t dim, float* scores, std::size_t stride) {
    F32 acc[R][Q];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) acc[r][q] = zeros();
    }
    std::size_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) {
        F32 x[R];
        for (std::size_t r = 0; r < R; ++r) x[r] = load(row[r] + d);
        for (std::size_t q = 0; q < Q; ++q) {
            const F32 y = load(queries + q * dim + d);
            for (std::size_t r = 0; r < R; ++r) acc[r][q] = fma(x[r], y, acc[r][q]);
        }
    }
    if (d < dim) {
        const Mask tail = first_lanes(dim - d);
        for (std::size_t q = 0; q < Q; ++q) {
            const F32 y = load(queries + q * dim + d, tail);
            for (std::size_t r = 0; r < R; ++r) acc[r][q] = fma(load(row[r] + d, tail), y, acc[r][q]);
        }
    }
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) scores[q * stride + r] = sum(acc[r][q]);
    }
}

template <std::size_t R>
void all_queries(const float* const* row, const float* queries, std::size_t num_queries, std::size_t dim,
                 float* scores, std::size_t stride) {
    std::size_t q = 0;
    for (; q + kQueries <= num_queries; q += kQueries) {
        block<R, kQueries>(row, queries + q * dim, dim, scores + q * stride, stride);
    }
    for (; q < num_queries; ++q) block<R, 1>(row, queries + q * dim, dim, scores + q * stride, stride);
}

}  // namespace

void inner_products(const float* vectors, const std::int64_t* rows, std::size_t num_rows, const float* queries,
                    std::size_t num_queries, std::size_t dim, float* scores) {
    const auto row_at = [=](std::size_t i) { return vectors + (rows ? static_cast<std::size_t>(rows[i]) : i) * dim; };
    std::size_t i = 0;
    for (; i + kRows <= num_rows; i += kRows) {
        const float* row[kRows] = {row_at(i), row_at(i + 1), row_at(i + 2), row_at(i + 3)};
        all_queries<kRows>(row, queries, num_queries, dim, scores + i, num_rows);
    }
    for (; i < num_rows; ++i) {
        const float* row[1] = {row_at(i)};
        all_queries<1>(row, queries, num_queries, dim, scores + i, num_rows);
    }
}

std::size_t first_bad_row(const float* vectors, std::size_t num_rows, std::size_t dim) {
    for (std::size_t i = 0; i < num_rows; ++i) {
        const float* row = vectors + i * dim;
        F32 bad = zeros();  // x * 0 is 0 for a finite x, and NaN for the others; a sum with a NaN stays one
        std::size_t d = 0;
        for (; d + kLanes <= dim; d += kLanes) bad = fma(load(row + d), zeros(), bad);
        if (d < dim) bad = fma(load(row + d, first_lanes(dim - d)), zeros(), bad);
        if (sum(bad) != 0.0f) return i;
    }
    return num_rows;
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
