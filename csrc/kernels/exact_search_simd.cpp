// Blocks of rows x queries, so that each loaded vector is used several times.
#include "kernels/exact_search.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

// As many accumulators as there are registers for, beside one vector of each row and one of a query.
constexpr std::size_t kRows = kLanes == 16 ? 6 : 3, kQueries = 4;
constexpr std::size_t kPanelFloats = 4096;  // of queries: 16 KiB, half of the smallest first-level cache

// Adds the products of the lanes at d.
template <std::size_t R, std::size_t Q, typename Load>
inline void step(const float* const* row, const float* queries, std::size_t dim, std::size_t d, Load load_at,
                 F32 (&acc)[R][Q]) {
    F32 x[R];
    for (std::size_t r = 0; r < R; ++r) x[r] = load_at(row[r] + d);
    for (std::size_t q = 0; q < Q; ++q) {
        const F32 y = load_at(queries + q * dim + d);
        for (std::size_t r = 0; r < R; ++r) acc[r][q] = fma(x[r], y, acc[r][q]);
    }
}

// scores[q * stride + r] = row[r] . queries[q], one accumulator a pair, each of them added up in the same order.
// Fetches the row at `ahead` meanwhile, unless that is null.
template <std::size_t R, std::size_t Q>
void block(const float* const* row, const float* ahead, const float* queries, std::size_t dim, float* scores,
           std::size_t stride) {
    F32 acc[R][Q];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t q = 0; q < Q; ++q) acc[r][q] = zeros();
    }
    std::size_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) {
        if (ahead) _mm_prefetch(reinterpret_cast<const char*>(ahead + d), _MM_HINT_T1);
        step(row, queries, dim, d, [](const float* p) { return load(p); }, acc);
    }
    if (d < dim) {
        const Mask tail = first_lanes(dim - d);
        step(row, queries, dim, d, [tail](const float* p) { return load(p, tail); }, acc);
    }
    float total[R][4];
    for (std::size_t r = 0; r < R; ++r) {
        if constexpr (Q == 4) {
            _mm_storeu_ps(total[r], sums(acc[r][0], acc[r][1], acc[r][2], acc[r][3]));
        } else {
            _mm_storeu_ps(total[r], sums(acc[r][0], zeros(), zeros(), zeros()));
        }
    }
    for (std::size_t q = 0; q < Q; ++q) {
        for (std::size_t r = 0; r < R; ++r) scores[q * stride + r] = total[r][q];
    }
}

}  // namespace

void inner_products(const float* vectors, const std::int64_t* rows, std::size_t num_rows, std::size_t num_ahead,
                    const float* queries, std::size_t num_queries, std::size_t dim, float* scores) {
    const auto row_at = [=](std::size_t i) { return vectors + (rows ? static_cast<std::size_t>(rows[i]) : i) * dim; };
    // A panel of queries stays in the first-level cache while all rows pass by.
    const std::size_t panel = kPanelFloats / (dim + 1) / kQueries * kQueries + kQueries;
    for (std::size_t first = 0; first < num_queries; first += panel) {
        const std::size_t last = first + panel < num_queries ? first + panel : num_queries;
        std::size_t i = 0;
        for (; i + kRows <= num_rows; i += kRows) {
            const float* row[kRows];
            for (std::size_t r = 0; r < kRows; ++r) row[r] = row_at(i + r);
            std::size_t q = first;
            for (; q + kQueries <= last; q += kQueries) {
                const std::size_t next = num_rows + i + q / kQueries % kRows;  // every row has its turn
                block<kRows, kQueries>(row, next < num_rows + num_ahead ? row_at(next) : nullptr, queries + q * dim, dim,
                                       scores + q * num_rows + i, num_rows);
            }
            for (; q < last; ++q) {
                block<kRows, 1>(row, nullptr, queries + q * dim, dim, scores + q * num_rows + i, num_rows);
            }
        }
        for (; i < num_rows; ++i) {
            const float* row[1] = {row_at(i)};
            for (std::size_t q = first; q < last; ++q) {
                block<1, 1>(row, nullptr, queries + q * dim, dim, scores + q * num_rows + i, num_rows);
            }
        }
    }
}

std::size_t next_not_below(const float* scores, std::size_t first, std::size_t n, float threshold) {
    const F32 least = set(threshold);
    std::size_t i = first;
    for (; i + kLanes <= n && all_lanes(is_less(load(scores + i), least)); i += kLanes) {
    }
    for (; i < n && scores[i] < threshold; ++i) {
    }
    return i;
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
