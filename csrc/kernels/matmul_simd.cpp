// Tiles of out whose accumulators stay in registers: kRows x 2 vectors for the products whose lanes are columns of out,
// 4 x 4 or 4 x 2 inner products for a b^T.
#include "kernels/matmul.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

constexpr std::size_t kRows = kLanes == 16 ? 14 : 6;  // 28 of 32 registers, 12 of 16
constexpr std::size_t kWide = 8;                      // vectors of a single row: hides the latency of fma

// The left operand: entry (i, p) lies at data[i * row_stride + p * step].
struct Left {
    const float* data;
    std::size_t row_stride, step;
};

void write(F32 acc, bool add_to_out, float* out) { store(out, add_to_out ? add(load(out), acc) : acc); }
void write(F32 acc, bool add_to_out, float* out, Mask mask) {
    store(out, add_to_out ? add(load(out, mask), acc) : acc, mask);
}

// R rows x C vectors of out; `tail` covers the last vector when kMasked.
template <std::size_t R, std::size_t C, bool kMasked>
void tile(Left a, const float* b, std::size_t ldb, std::size_t k, Mask tail, bool add, float* out, std::size_t ldo) {
    F32 acc[R][C];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t c = 0; c < C; ++c) acc[r][c] = zeros();
    }
    // one pointer for three rows: an x86 address is base + {0, 1, 2} * stride, and R pointers would not fit in registers
    constexpr std::size_t kBases = (R + 2) / 3;
    const float* base[kBases];
    for (std::size_t s = 0; s < kBases; ++s) base[s] = a.data + 3 * s * a.row_stride;
    for (std::size_t p = 0; p < k; ++p, b += ldb) {
        F32 y[C];
        for (std::size_t c = 0; c < C; ++c) {
            y[c] = kMasked && c + 1 == C ? load(b + c * kLanes, tail) : load(b + c * kLanes);
        }
        for (std::size_t r = 0; r < R; ++r) {
            const F32 x = set(base[r / 3][r % 3 * a.row_stride]);
            for (std::size_t c = 0; c < C; ++c) acc[r][c] = fma(x, y[c], acc[r][c]);
        }
        for (std::size_t s = 0; s < kBases; ++s) base[s] += a.step;
    }
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t c = 0; c < C; ++c) {
            float* place = out + r * ldo + c * kLanes;
            if (kMasked && c + 1 == C) {
                write(acc[r][c], add, place, tail);
            } else {
                write(acc[r][c], add, place);
            }
        }
    }
}

// The tile of `rows` <= R rows.
template <std::size_t R, std::size_t C, bool kMasked>
void tile_of(std::size_t rows, Left a, const float* b, std::size_t ldb, std::size_t k, Mask tail, bool add, float* out,
             std::size_t ldo) {
    if constexpr (R > 1) {
        if (rows < R) return tile_of<R - 1, C, kMasked>(rows, a, b, ldb, k, tail, add, out, ldo);
    }
    tile<R, C, kMasked>(a, b, ldb, k, tail, add, out, ldo);
}

// All rows of C vectors of columns, in blocks of nearly equal height.
template <std::size_t C, bool kMasked>
void strip(Left a, const float* b, std::size_t ldb, std::size_t m, std::size_t k, Mask tail, bool add, float* out,
           std::size_t ldo) {
    const std::size_t num_blocks = (m + kRows - 1) / kRows;
    for (std::size_t block = 0, i = 0; block < num_blocks; ++block) {
        const std::size_t rows = (m - i + num_blocks - block - 1) / (num_blocks - block);
        const Left left{a.data + i * a.row_stride, a.row_stride, a.step};
        tile_of<kRows, C, kMasked>(rows, left, b, ldb, k, tail, add, out + i * ldo, ldo);
        i += rows;
    }
}

void product(Left a, const float* b, std::size_t ldb, std::size_t m, std::size_t n, std::size_t k, bool add, float* out,
             std::size_t ldo) {
    const Mask none = first_lanes(0);
    std::size_t j = 0;
    if (m == 1) {
        for (; j + kWide * kLanes <= n; j += kWide * kLanes) {
            tile<1, kWide, false>(a, b + j, ldb, k, none, add, out + j, ldo);
        }
    }
    for (; j + 2 * kLanes <= n; j += 2 * kLanes) strip<2, false>(a, b + j, ldb, m, k, none, add, out + j, ldo);
    if (j + kLanes < n) {
        strip<2, true>(a, b + j, ldb, m, k, first_lanes(n - j - kLanes), add, out + j, ldo);
    } else if (j + kLanes == n) {
        strip<1, false>(a, b + j, ldb, m, k, none, add, out + j, ldo);
    } else if (j < n) {
        strip<1, true>(a, b + j, ldb, m, k, first_lanes(n - j), add, out + j, ldo);
    }
}

// R x C inner products of rows, lanes over k.
template <std::size_t R, std::size_t C>
void inner_tile(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t k, bool add, float* out,
                std::size_t ldo) {
    F32 acc[R][C];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t c = 0; c < C; ++c) acc[r][c] = zeros();
    }
    std::size_t p = 0;
    for (; p + kLanes <= k; p += kLanes) {
        F32 x[R];
        for (std::size_t r = 0; r < R; ++r) x[r] = load(a + r * lda + p);
        for (std::size_t c = 0; c < C; ++c) {
            const F32 y = load(b + c * ldb + p);
            for (std::size_t r = 0; r < R; ++r) acc[r][c] = fma(x[r], y, acc[r][c]);
        }
    }
    if (p < k) {
        const Mask tail = first_lanes(k - p);
        for (std::size_t c = 0; c < C; ++c) {
            const F32 y = load(b + c * ldb + p, tail);
            for (std::size_t r = 0; r < R; ++r) acc[r][c] = fma(load(a + r * lda + p, tail), y, acc[r][c]);
        }
    }
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t c = 0; c < C; ++c) {
            float& entry = out[r * ldo + c];
            entry = add ? entry + sum(acc[r][c]) : sum(acc[r][c]);
        }
    }
}

template <std::size_t R, std::size_t C>
void inner_strip(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t n, std::size_t k,
                 bool add, float* out, std::size_t ldo) {
    std::size_t j = 0;
    for (; j + C <= n; j += C) inner_tile<R, C>(a, lda, b + j * ldb, ldb, k, add, out + j, ldo);
    for (; j < n; ++j) inner_tile<R, 1>(a, lda, b + j * ldb, ldb, k, add, out + j, ldo);
}

}  // namespace

void matmul(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
            std::size_t k, bool add, float* out, std::size_t ldo) {
    product({a, lda, 1}, b, ldb, m, n, k, add, out, ldo);
}

void matmul_tn(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    product({a, 1, lda}, b, ldb, m, n, k, add, out, ldo);
}

void matmul_nt(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    constexpr std::size_t kInner = kLanes == 16 ? 4 : 2;
    std::size_t i = 0;
    for (; i + 4 <= m; i += 4) inner_strip<4, kInner>(a + i * lda, lda, b, ldb, n, k, add, out + i * ldo, ldo);
    for (; i < m; ++i) inner_strip<1, kWide>(a + i * lda, lda, b, ldb, n, k, add, out + i * ldo, ldo);
}

void matmul_packed(const float* a, std::size_t lda, const float* packed, std::size_t m, std::size_t n, std::size_t k,
                   bool add, float* out, std::size_t ldo) {
    for (std::size_t j = 0; j < n; j += kPanelColumns) {
        const std::size_t columns = n - j < kPanelColumns ? n - j : kPanelColumns;
        product({a, lda, 1}, packed + j * k, kPanelColumns, m, columns, k, add, out + j, ldo);
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
