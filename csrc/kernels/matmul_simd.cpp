// Tiles of out whose accumulators stay in registers: kRows x 3 vectors for the products whose lanes are columns of out,
// 4 x 4 or 4 x 2 inner products for a b^T.
#include "kernels/matmul.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

// A tile is kRows x 3 vectors: 27 of 32 registers, or 12 of 16, are accumulators, and 3 more hold b. That loads less
// for a multiply-add than more rows by 2 vectors would.
constexpr std::size_t kRows = kLanes == 16 ? 9 : 4, kVectors = 3;
constexpr std::size_t kWide = 8;  // vectors of a single row: hides the latency of fma

inline void prefetch(const float* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

// The left operand, stored as (m, k). Rows are reached three to a pointer: an x86 address is base + {0, 1, 2} * stride,
// and a pointer for each would not fit in registers.
struct Rows {
    const float* data;
    std::size_t stride;

    Rows from(std::size_t i) const { return {data + i * stride, stride}; }
    float at(std::size_t r, std::size_t p) const { return (data + r / 3 * (3 * stride))[r % 3 * stride + p]; }
    void fetch_ahead(std::size_t) const {}
};

// The same, beside the panel of b that comes next: the tiles of one panel bring it near, two cache lines in four steps.
struct RowsAhead {
    Rows rows;
    const float* next;  // (k, kPanelColumns)
    std::size_t k;

    RowsAhead from(std::size_t i) const {
        const std::size_t tile = (i + kRows - 1) / kRows < 6 ? (i + kRows - 1) / kRows : 5;
        return {rows.from(i), next + tile * 8 * k, k};
    }
    float at(std::size_t r, std::size_t p) const { return rows.at(r, p); }
    void fetch_ahead(std::size_t p) const {
        prefetch(next + 8 * p);
        prefetch(next + 8 * p + 16);
    }
};
static_assert(kPanelColumns == 6 * 8);

// The left operand, stored as its transpose (k, m).
struct Columns {
    const float* data;
    std::size_t stride;

    Columns from(std::size_t i) const { return {data + i, stride}; }
    float at(std::size_t r, std::size_t p) const { return data[p * stride + r]; }
    void fetch_ahead(std::size_t) const {}
};

void write(F32 acc, bool add_to_out, float* out) { store(out, add_to_out ? add(load(out), acc) : acc); }
void write(F32 acc, bool add_to_out, float* out, Mask mask) {
    store(out, add_to_out ? add(load(out, mask), acc) : acc, mask);
}

// The terms p of R rows x C vectors of out; `tail` covers the last vector when kMasked.
// Unrolled by hand where GCC would otherwise keep `acc` in memory.
template <std::size_t R, std::size_t C, bool kMasked, typename Left>
inline __attribute__((always_inline)) void add_terms(const Left& a, std::size_t p, const float* b, Mask tail,
                                                     F32 (&acc)[R][C]) {
    F32 y[C];
    for (std::size_t c = 0; c < C - kMasked; ++c) y[c] = load(b + c * kLanes);
    if constexpr (kMasked) y[C - 1] = load(b + (C - 1) * kLanes, tail);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r) {
        const F32 x = set(a.at(r, p));
        for (std::size_t c = 0; c < C; ++c) acc[r][c] = fma(x, y[c], acc[r][c]);
    }
}

template <std::size_t R, std::size_t C, bool kMasked, typename Left>
void tile(Left a, const float* b, std::size_t ldb, std::size_t k, Mask tail, bool add, float* out, std::size_t ldo) {
    F32 acc[R][C];
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t c = 0; c < C; ++c) acc[r][c] = zeros();
    }
    std::size_t p = 0;
    for (; p + 4 <= k; p += 4, b += 4 * ldb) {
        a.fetch_ahead(p);
        add_terms<R, C, kMasked>(a, p, b, tail, acc);
        add_terms<R, C, kMasked>(a, p + 1, b + ldb, tail, acc);
        add_terms<R, C, kMasked>(a, p + 2, b + 2 * ldb, tail, acc);
        add_terms<R, C, kMasked>(a, p + 3, b + 3 * ldb, tail, acc);
    }
    for (; p < k; ++p, b += ldb) add_terms<R, C, kMasked>(a, p, b, tail, acc);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r) {
        float* place = out + r * ldo;
        for (std::size_t c = 0; c < C - kMasked; ++c) write(acc[r][c], add, place + c * kLanes);
        if constexpr (kMasked) write(acc[r][C - 1], add, place + (C - 1) * kLanes, tail);
    }
}

// The tile of `rows` <= R rows.
template <std::size_t R, std::size_t C, bool kMasked, typename Left>
void tile_of(std::size_t rows, Left a, const float* b, std::size_t ldb, std::size_t k, Mask tail, bool add, float* out,
             std::size_t ldo) {
    if constexpr (R > 1) {
        if (rows < R) return tile_of<R - 1, C, kMasked>(rows, a, b, ldb, k, tail, add, out, ldo);
    }
    tile<R, C, kMasked>(a, b, ldb, k, tail, add, out, ldo);
}

// All rows of C vectors of columns, in blocks of nearly equal height.
template <std::size_t C, bool kMasked, typename Left>
void strip(Left a, const float* b, std::size_t ldb, std::size_t m, std::size_t k, Mask tail, bool add, float* out,
           std::size_t ldo) {
    const std::size_t num_blocks = (m + kRows - 1) / kRows;
    for (std::size_t block = 0, i = 0; block < num_blocks; ++block) {
        const std::size_t rows = (m - i + num_blocks - block - 1) / (num_blocks - block);
        tile_of<kRows, C, kMasked>(rows, a.from(i), b, ldb, k, tail, add, out + i * ldo, ldo);
        i += rows;
    }
}

template <typename Left>
void product(Left a, const float* b, std::size_t ldb, std::size_t m, std::size_t n, std::size_t k, bool add, float* out,
             std::size_t ldo) {
    const Mask none = first_lanes(0);
    std::size_t j = 0;
    if (m == 1) {
        for (; j + kWide * kLanes <= n; j += kWide * kLanes) {
            tile<1, kWide, false>(a, b + j, ldb, k, none, add, out + j, ldo);
        }
    }
    for (; j + kVectors * kLanes <= n; j += kVectors * kLanes) {
        strip<kVectors, false>(a, b + j, ldb, m, k, none, add, out + j, ldo);
    }
    if (j + 2 * kLanes < n) {
        strip<3, true>(a, b + j, ldb, m, k, first_lanes(n - j - 2 * kLanes), add, out + j, ldo);
    } else if (j + kLanes < n) {
        strip<2, true>(a, b + j, ldb, m, k, first_lanes(n - j - kLanes), add, out + j, ldo);
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
    product(Rows{a, lda}, b, ldb, m, n, k, add, out, ldo);
}

void matmul_tn(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    product(Columns{a, lda}, b, ldb, m, n, k, add, out, ldo);
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
        const float* next = packed + (j + kPanelColumns < n ? j + kPanelColumns : j) * k;
        product(RowsAhead{{a, lda}, next, k}, packed + j * k, kPanelColumns, m, columns, k, add, out + j, ldo);
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
