// AVX2 + FMA: blocks of 4 rows x 2 queries, so that each loaded vector is used several times.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/exact_search.hpp"

namespace ruvllm::kernels::avx2 {
namespace {

constexpr std::size_t kLanes = 8, kRows = 4, kQueries = 2;

// All ones in the first `count` lanes: a window that slides over ones followed by zeros.
__m256i first_lanes(std::size_t count) {
    alignas(32) static const std::int32_t window[2 * kLanes] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(window + kLanes - count));
}

float sum_lanes(__m256 x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// scores[q * stride + r] = row[r] . queries[q], one accumulator a pair.
template <std::size_t R, std::size_t Q>
void block(const float* const* row, const float* queries, std::size_t dim, float* scores, std::size_t stride) {
    __m256 acc_f32x8[R][Q];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) acc_f32x8[r][q] = _mm256_setzero_ps();
    }
    std::size_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) {
        __m256 x[R];
        for (std::size_t r = 0; r < R; ++r) x[r] = _mm256_loadu_ps(row[r] + d);
        for (std::size_t q = 0; q < Q; ++q) {
            const __m256 y = _mm256_loadu_ps(queries + q * dim + d);
            for (std::size_t r = 0; r < R; ++r) acc_f32x8[r][q] = _mm256_fmadd_ps(x[r], y, acc_f32x8[r][q]);
        }
    }
    if (d < dim) {
        const __m256i tail = first_lanes(dim - d);
        for (std::size_t q = 0; q < Q; ++q) {
            const __m256 y = _mm256_maskload_ps(queries + q * dim + d, tail);
            for (std::size_t r = 0; r < R; ++r) {
                acc_f32x8[r][q] = _mm256_fmadd_ps(_mm256_maskload_ps(row[r] + d, tail), y, acc_f32x8[r][q]);
            }
        }
    }
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) scores[q * stride + r] = sum_lanes(acc_f32x8[r][q]);
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
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);  // all ones there: a NaN or an infinity
    for (std::size_t i = 0; i < num_rows; ++i) {
        const float* row = vectors + i * dim;
        __m256i bad = _mm256_setzero_si256();
        std::size_t d = 0;
        for (; d + kLanes <= dim; d += kLanes) {
            const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + d));
            bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(_mm256_and_si256(x, exponent), exponent));
        }
        if (d < dim) {
            const __m256i x = _mm256_castps_si256(_mm256_maskload_ps(row + d, first_lanes(dim - d)));
            bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(_mm256_and_si256(x, exponent), exponent));
        }
        if (!_mm256_testz_si256(bad, bad)) return i;
    }
    return num_rows;
}

}  // namespace ruvllm::kernels::avx2
