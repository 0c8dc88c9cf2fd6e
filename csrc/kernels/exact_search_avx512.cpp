// AVX-512: blocks of 4 rows x 4 queries, so that each loaded vector is used four times.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/exact_search.hpp"

namespace ruvllm::kernels::avx512 {
namespace {

constexpr std::size_t kLanes = 16, kRows = 4, kQueries = 4;

__mmask16 first_lanes(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

// scores[q * stride + r] = row[r] . queries[q], one accumulator a pair.
template <std::size_t R, std::size_t Q>
void block(const float* const* row, const float* queries, std::size_t dim, float* scores, std::size_t stride) {
    __m512 acc_f32x16[R][Q];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) acc_f32x16[r][q] = _mm512_setzero_ps();
    }
    std::size_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) {
        __m512 x[R];
        for (std::size_t r = 0; r < R; ++r) x[r] = _mm512_loadu_ps(row[r] + d);
        for (std::size_t q = 0; q < Q; ++q) {
            const __m512 y = _mm512_loadu_ps(queries + q * dim + d);
            for (std::size_t r = 0; r < R; ++r) acc_f32x16[r][q] = _mm512_fmadd_ps(x[r], y, acc_f32x16[r][q]);
        }
    }
    if (d < dim) {
        const __mmask16 tail = first_lanes(dim - d);
        for (std::size_t q = 0; q < Q; ++q) {
            const __m512 y = _mm512_maskz_loadu_ps(tail, queries + q * dim + d);
            for (std::size_t r = 0; r < R; ++r) {
                acc_f32x16[r][q] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(tail, row[r] + d), y, acc_f32x16[r][q]);
            }
        }
    }
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) scores[q * stride + r] = _mm512_reduce_add_ps(acc_f32x16[r][q]);
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
    constexpr int kNanOrInfinity = 0x01 | 0x80 | 0x08 | 0x10;  // quiet NaN, signalling NaN, +inf, -inf
    for (std::size_t i = 0; i < num_rows; ++i) {
        const float* row = vectors + i * dim;
        __mmask16 bad = 0;
        std::size_t d = 0;
        for (; d + kLanes <= dim; d += kLanes) {
            bad = _kor_mask16(bad, _mm512_fpclass_ps_mask(_mm512_loadu_ps(row + d), kNanOrInfinity));
        }
        if (d < dim) {
            const __m512 x = _mm512_maskz_loadu_ps(first_lanes(dim - d), row + d);
            bad = _kor_mask16(bad, _mm512_fpclass_ps_mask(x, kNanOrInfinity));
        }
        if (bad != 0) return i;
    }
    return num_rows;
}

}  // namespace ruvllm::kernels::avx512
