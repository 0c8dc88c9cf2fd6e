// Lanes are rows of W: four entries of x, broadcast, meet four entries of each row of a panel at a time. Entries of W
// are stored without sign, because that is what the instruction multiplies; sums start at what that adds, negated.
#include <cstring>

#include "kernels/quantized_matmul.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

constexpr std::size_t kQuadBytes = 4 * kPanel;
constexpr std::size_t kInt4GroupBytes = int4_panel_bytes(kInt4Group);
constexpr std::size_t kAhead = 2048;      // bytes that a walk over the panels asks for in advance, where
constexpr std::size_t kRowsThatWait = 8;  // so few rows wait for memory and not for arithmetic

inline std::int32_t four_of(const std::int8_t* x) {
    std::int32_t four;
    std::memcpy(&four, x, 4);
    return four;
}

// The first `count` lanes of a result, scaled and shifted where the layer says so.
inline void write_lanes(F32 y, const float* row_scales, const float* bias, std::size_t count, bool add_to_out,
                        float* out) {
    if (row_scales != nullptr) {
        y = bias != nullptr ? fma(y, load(row_scales), load(bias)) : mul(y, load(row_scales));
    } else if (bias != nullptr) {
        y = add(y, load(bias));
    }
    const Mask mask = first_lanes(count);
    store(out, add_to_out ? add(load(out, mask), y) : y, mask);
}

#ifdef __AVX512F__

constexpr std::size_t kRows = 12;  // 12 sums, 12 totals and W fit in 32 registers

struct Ints {
    __m512i all;
};
struct Totals {
    F32 all;
};
struct Bytes {
    __m512i all;
};

inline Ints start(std::int32_t value) { return {_mm512_set1_epi32(value)}; }
inline Totals no_totals() { return {zeros()}; }
inline Bytes load_quad(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline Bytes low_half(Bytes w) { return {_mm512_and_si512(w.all, _mm512_set1_epi8(15))}; }
inline Bytes high_half(Bytes w) { return {_mm512_and_si512(_mm512_srli_epi16(w.all, 4), _mm512_set1_epi8(15))}; }
inline void add_products(Ints& sums, Bytes w, const std::int8_t* x) {
    sums.all = _mm512_dpbusd_epi32(sums.all, w.all, _mm512_set1_epi32(four_of(x)));
}
inline void add(Ints& a, Ints b) { a.all = _mm512_add_epi32(a.all, b.all); }
inline void add_scaled(Totals& totals, Ints sums, float scale) {
    totals.all = fma(_mm512_cvtepi32_ps(sums.all), set(scale), totals.all);
}
struct Scales {
    F32 all;
};
inline Scales load_scales(const std::uint8_t* halves) { return {load_halves(reinterpret_cast<const std::uint16_t*>(halves))}; }
inline void add_scaled(Totals& totals, Ints sums, Scales w, float scale) {
    totals.all = fma(_mm512_cvtepi32_ps(sums.all), mul(w.all, set(scale)), totals.all);
}
inline void write(Totals totals, const float* row_scales, const float* bias, std::size_t count, bool add_to_out,
                  float* out) {
    write_lanes(totals.all, row_scales, bias, count, add_to_out, out);
}

#else

constexpr std::size_t kRows = 2;

struct Ints {
    __m256i low, high;
};
struct Totals {
    F32 low, high;
};
struct Bytes {
    __m256i low, high;
};

inline Ints start(std::int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
inline Totals no_totals() { return {zeros(), zeros()}; }
inline Bytes load_quad(const std::uint8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
inline Bytes low_half(Bytes w) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(w.low, mask), _mm256_and_si256(w.high, mask)};
}
inline Bytes high_half(Bytes w) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(_mm256_srli_epi16(w.low, 4), mask), _mm256_and_si256(_mm256_srli_epi16(w.high, 4), mask)};
}
// Pairs of 255 * 127 overflow 16 bits: even and odd entries apart. x holds four entries in every lane.
inline __m256i products(__m256i w, __m256i even, __m256i odd) {
    const __m256i low_bytes = _mm256_set1_epi16(255);
    return _mm256_add_epi32(_mm256_madd_epi16(_mm256_and_si256(w, low_bytes), even),
                            _mm256_madd_epi16(_mm256_srli_epi16(w, 8), odd));
}
inline void add_products(Ints& sums, Bytes w, const std::int8_t* x) {
    const __m256i four = _mm256_set1_epi32(four_of(x)), odd = _mm256_srai_epi16(four, 8);
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8);
    sums.low = _mm256_add_epi32(sums.low, products(w.low, even, odd));
    sums.high = _mm256_add_epi32(sums.high, products(w.high, even, odd));
}
inline void add(Ints& a, Ints b) {
    a.low = _mm256_add_epi32(a.low, b.low);
    a.high = _mm256_add_epi32(a.high, b.high);
}
inline void add_scaled(Totals& totals, Ints sums, float scale) {
    totals.low = fma(_mm256_cvtepi32_ps(sums.low), set(scale), totals.low);
    totals.high = fma(_mm256_cvtepi32_ps(sums.high), set(scale), totals.high);
}
struct Scales {
    F32 low, high;
};
inline Scales load_scales(const std::uint8_t* halves) {
    const auto* p = reinterpret_cast<const std::uint16_t*>(halves);
    return {load_halves(p), load_halves(p + 8)};
}
inline void add_scaled(Totals& totals, Ints sums, Scales w, float scale) {
    totals.low = fma(_mm256_cvtepi32_ps(sums.low), mul(w.low, set(scale)), totals.low);
    totals.high = fma(_mm256_cvtepi32_ps(sums.high), mul(w.high, set(scale)), totals.high);
}
inline void write(Totals totals, const float* row_scales, const float* bias, std::size_t count, bool add_to_out,
                  float* out) {
    const std::size_t low = count < 8 ? count : 8;
    write_lanes(totals.low, row_scales, bias, low, add_to_out, out);
    if (count == low) return;
    const float* more_scales = row_scales == nullptr ? nullptr : row_scales + 8;
    write_lanes(totals.high, more_scales, bias == nullptr ? nullptr : bias + 8, count - low, add_to_out, out + 8);
}

#endif

inline void prefetch(const std::uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }

// Few rows keep several sums each, so that one product need not wait for the one before.
template <std::size_t R>
constexpr std::size_t kChains = R == 1 ? 4 : R <= 3 ? 2 : 1;

template <std::size_t R, std::size_t Chains>
inline void combine(Ints (&sums)[R][Chains]) {
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t c = 1; c < Chains; ++c) add(sums[r][0], sums[r][c]);
    }
}

// R rows of x against one panel.
template <std::size_t R>
void int8_tile(const std::int8_t* x, const float* scales, const std::int32_t* offsets, std::size_t k,
               const std::uint8_t* panel, Totals (&totals)[R]) {
    const std::size_t groups = k / kGroup;
    for (std::size_t group = 0; group < groups; ++group, x += kGroup, panel += kGroup * kPanel) {
        Ints sums[R][kChains<R>];
#pragma GCC unroll 16
        for (std::size_t r = 0; r < R; ++r) {
            sums[r][0] = start(offsets[r * groups + group]);
            for (std::size_t c = 1; c < kChains<R>; ++c) sums[r][c] = start(0);
        }
#pragma GCC unroll 16
        for (std::size_t quad = 0; quad < kGroup / 4; ++quad) {
            if (R <= kRowsThatWait) prefetch(panel + quad * kQuadBytes + kAhead);
            const Bytes w = load_quad(panel + quad * kQuadBytes);
#pragma GCC unroll 16
            for (std::size_t r = 0; r < R; ++r) add_products(sums[r][quad % kChains<R>], w, x + r * k + 4 * quad);
        }
        combine(sums);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < R; ++r) add_scaled(totals[r], sums[r][0], scales[r * groups + group]);
    }
}

template <std::size_t R>
void int4_tile(const std::int8_t* x, const float* scales, const std::int32_t* group_sums, std::size_t k,
               const std::uint8_t* panel, Totals (&totals)[R]) {
    const std::size_t groups = k / kInt4Group;
    for (std::size_t group = 0; group < groups; ++group, x += kInt4Group, panel += kInt4GroupBytes) {
        Ints sums[R][kChains<R>];
#pragma GCC unroll 16
        for (std::size_t r = 0; r < R; ++r) {
            sums[r][0] = start(-8 * group_sums[r * groups + group]);
            for (std::size_t c = 1; c < kChains<R>; ++c) sums[r][c] = start(0);
        }
#pragma GCC unroll 4
        for (std::size_t quad = 0; quad < 4; ++quad) {
            if (R <= kRowsThatWait) prefetch(panel + quad * kQuadBytes + kAhead);
            const Bytes both = load_quad(panel + quad * kQuadBytes), low = low_half(both), high = high_half(both);
#pragma GCC unroll 16
            for (std::size_t r = 0; r < R; ++r) {
                add_products(sums[r][quad % kChains<R>], low, x + r * k + 4 * quad);
                add_products(sums[r][(quad + kChains<R> / 2) % kChains<R>], high, x + r * k + 16 + 4 * quad);
            }
        }
        combine(sums);
        const Scales w = load_scales(panel + 4 * kQuadBytes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < R; ++r) {
            add_scaled(totals[r], sums[r][0], w, scales[r * (groups / 2) + group / 2]);
        }
    }
}

struct Output {
    const float* row_scales;
    const float* bias;
    bool add;
    float* out;
    std::size_t ldo;
};

template <bool kIsInt4, std::size_t R>
void tile(const QuantizedRows& x, std::size_t row, const std::uint8_t* panel, std::size_t count, const Output& to) {
    const std::size_t groups = x.k / kGroup;
    Totals totals[R];
    for (std::size_t r = 0; r < R; ++r) totals[r] = no_totals();
    if constexpr (kIsInt4) {
        int4_tile<R>(x.values + row * x.k, x.scales + row * groups, x.sums + 2 * row * groups, x.k, panel, totals);
    } else {
        int8_tile<R>(x.values + row * x.k, x.scales + row * groups, x.offsets + row * groups, x.k, panel, totals);
    }
    for (std::size_t r = 0; r < R; ++r) {
        write(totals[r], to.row_scales, to.bias, count, to.add, to.out + (row + r) * to.ldo);
    }
}

// `rows` <= R rows.
template <bool kIsInt4, std::size_t R>
void tile_of(std::size_t rows, const QuantizedRows& x, std::size_t row, const std::uint8_t* panel, std::size_t count,
             const Output& to) {
    if constexpr (R > 1) {
        if (rows < R) return tile_of<kIsInt4, R - 1>(rows, x, row, panel, count, to);
    }
    tile<kIsInt4, R>(x, row, panel, count, to);
}

constexpr std::size_t kPanelsAtOnce = 4;  // against one block of rows, which stays near meanwhile

template <bool kIsInt4>
void product(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, std::size_t n, const Output& to) {
    const std::size_t panel_bytes = kIsInt4 ? int4_panel_bytes(x.k) : int8_panel_bytes(x.k);
    const std::size_t blocks = (m + kRows - 1) / kRows;
    for (std::size_t first = 0; first < n; first += kPanelsAtOnce * kPanel) {
        const std::size_t end = first + kPanelsAtOnce * kPanel < n ? first + kPanelsAtOnce * kPanel : n;
        for (std::size_t block = 0, row = 0; block < blocks; ++block) {  // of nearly equal height
            const std::size_t rows = (m - row + blocks - block - 1) / (blocks - block);
            for (std::size_t o = first; o < end; o += kPanel) {
                const Output here{to.row_scales == nullptr ? nullptr : to.row_scales + o,
                                  to.bias == nullptr ? nullptr : to.bias + o, to.add, to.out + o, to.ldo};
                const std::size_t count = n - o < kPanel ? n - o : kPanel;
                tile_of<kIsInt4, kRows>(rows, x, row, panels + o / kPanel * panel_bytes, count, here);
            }
            row += rows;
        }
    }
}

#ifdef __AVX512F__

// values = x inverse, rounded, for kInt4Group entries; returns their sum.
inline std::int32_t quantize_some(const F32* x, F32 inverse, std::int8_t* values) {
    const __m512i first = _mm512_cvtps_epi32(mul(x[0], inverse)), second = _mm512_cvtps_epi32(mul(x[1], inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values), _mm512_cvtsepi32_epi8(first));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values + 16), _mm512_cvtsepi32_epi8(second));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
}

#else

inline std::int32_t quantize_some(const F32* x, F32 inverse, std::int8_t* values) {
    __m256i total = _mm256_setzero_si256();
    for (std::size_t i = 0; i < kInt4Group / kLanes; ++i) {
        const __m256i whole = _mm256_cvtps_epi32(mul(x[i], inverse));
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(values + i * kLanes), _mm_packs_epi16(words, words));
        total = _mm256_add_epi32(total, whole);
    }
    const __m128i quads = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    const __m128i pairs = _mm_add_epi32(quads, _mm_shuffle_epi32(quads, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xb1)));
}

#endif

// One group: kGroup floats.
void quantize_group(const float* from, std::int8_t* values, float& scale, std::int32_t& offset, std::int32_t* sums) {
    constexpr std::size_t kVectors = kGroup / kLanes;
    F32 x[kVectors], most_lanes = zeros();
    for (std::size_t i = 0; i < kVectors; ++i) {
        x[i] = load(from + i * kLanes);
        most_lanes = max(abs(x[i]), most_lanes);
    }
    // a NaN need not be the largest, but it makes 0 x into one; so does an infinity
    F32 nothing = mul(x[0], zeros());
    for (std::size_t i = 1; i < kVectors; ++i) nothing = fma(x[i], zeros(), nothing);
    const bool is_finite = all_lanes(is_less(nothing, set(1.0f)));
    const float most = largest(most_lanes);
    scale = is_finite ? most / 127.0f : __builtin_nanf("");
    if (!is_finite) {
        for (std::size_t i = 0; i < kVectors; ++i) x[i] = zeros();
    }
    const F32 inverse = set(most >= kLeast && is_finite ? 127.0f / most : 0.0f);
    sums[0] = quantize_some(x, inverse, values);
    sums[1] = quantize_some(x + kVectors / 2, inverse, values + kInt4Group);
    offset = -128 * (sums[0] + sums[1]);
}

}  // namespace

void quantize_rows(const float* x, std::size_t ldx, std::size_t m, std::size_t size, std::int8_t* values,
                   float* scales, std::int32_t* offsets, std::int32_t* sums) {
    const std::size_t whole = size / kGroup * kGroup;
    for (std::size_t row = 0; row < m; ++row, x += ldx) {
        for (std::size_t i = 0; i < whole; i += kGroup, values += kGroup, sums += 2) {
            quantize_group(x + i, values, *scales++, *offsets++, sums);
        }
        if (whole == size) continue;
        float rest[kGroup] = {};
        std::memcpy(rest, x + whole, (size - whole) * sizeof(float));
        quantize_group(rest, values, *scales++, *offsets++, sums);
        values += kGroup;
        sums += 2;
    }
}

void matmul_int8(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* row_scales,
                 const float* bias, std::size_t n, bool add, float* out, std::size_t ldo) {
    product<false>(x, m, panels, n, {row_scales, bias, add, out, ldo});
}

void matmul_int4(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* bias, std::size_t n,
                 bool add, float* out, std::size_t ldo) {
    product<true>(x, m, panels, n, {nullptr, bias, add, out, ldo});
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
