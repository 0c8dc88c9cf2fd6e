// Vectors of float32 for the files that are compiled once per instruction set (*_simd.cpp): the same code, written in
// these words, becomes the AVX2 and the AVX-512 variant. RUVLLM_VARIANT is the namespace of the variant: avx2 or avx512.
// Everything here has internal linkage, so that no copy leaks into other files.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

#ifdef __AVX512F__

using F32 = __m512;   // 16 floats
using Mask = __mmask16;
constexpr std::size_t kLanes = 16;

inline F32 zeros() { return _mm512_setzero_ps(); }
inline F32 set(float x) { return _mm512_set1_ps(x); }
inline F32 load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F32 x) { _mm512_storeu_ps(p, x); }

inline Mask first_lanes(std::size_t count) { return static_cast<Mask>((1u << count) - 1u); }  // count <= 16
inline F32 load(const float* p, Mask mask) { return _mm512_maskz_loadu_ps(mask, p); }           // others are 0
inline void store(float* p, F32 x, Mask mask) { _mm512_mask_storeu_ps(p, mask, x); }
inline F32 gather(const float* p, const std::int32_t* index) { return _mm512_i32gather_ps(_mm512_loadu_si512(index), p, 4); }
inline F32 gather(const float* p, const std::int32_t* index, Mask mask) {
    return _mm512_mask_i32gather_ps(zeros(), mask, _mm512_maskz_loadu_epi32(mask, index), p, 4);
}

inline F32 load(const std::int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline F32 load_halves(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// table[index[lane]] for kLanes indices in [0, 16), from registers
inline F32 lookup_16(const float* table, const std::int32_t* index) {
    return _mm512_permutexvar_ps(_mm512_loadu_si512(index), load(table));
}

inline F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
inline F32 reciprocal_estimate(F32 a) { return _mm512_rcp14_ps(a); }  // within 2^-14
constexpr int kReciprocalSteps = 1;
inline F32 min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
inline F32 max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
inline F32 sqrt(F32 a) { return _mm512_sqrt_ps(a); }
inline F32 abs(F32 a) { return _mm512_abs_ps(a); }
inline F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
inline F32 fnma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
inline F32 round(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline F32 scale_by_power_of_2(F32 a, F32 n) { return _mm512_scalef_ps(a, n); }  // a 2^n, n whole

inline Mask is_less(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline bool all_lanes(Mask mask) { return mask == 0xffff; }
inline F32 select(Mask mask, F32 yes, F32 no) { return _mm512_mask_blend_ps(mask, no, yes); }

inline float sum(F32 a) { return _mm512_reduce_add_ps(a); }
inline float largest(F32 a) { return _mm512_reduce_max_ps(a); }
// The sums of four vectors, each added up in the same order wherever it stands among them.
inline __m128 sums(F32 a, F32 b, F32 c, F32 d) {
    const auto halves = [](F32 x, F32 y) { return add(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee)); };
    const F32 ab = halves(a, b), cd = halves(c, d);  // two quarters of each are left
    F32 all = add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));  // a quarter of each
    all = add(all, _mm512_permute_ps(all, 0x4e));
    all = add(all, _mm512_permute_ps(all, 0xb1));
    return _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, all));
}

// rows[i][j] <-> rows[j][i]: pairs, then quads within each quarter, then the quarters themselves.
inline void transpose(F32 (&rows)[kLanes]) {
    F32 t[kLanes];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    const auto low = [](F32 a, F32 b) { return _mm512_shuffle_ps(a, b, 0x44); };
    const auto high = [](F32 a, F32 b) { return _mm512_shuffle_ps(a, b, 0xEE); };
    F32 q[4][4];  // q[i][c]: rows 4 i .. 4 i + 3 of columns c, c + 4, c + 8, c + 12
    for (int i = 0; i < 4; ++i) {
        q[i][0] = low(t[4 * i], t[4 * i + 2]);
        q[i][1] = high(t[4 * i], t[4 * i + 2]);
        q[i][2] = low(t[4 * i + 1], t[4 * i + 3]);
        q[i][3] = high(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int c = 0; c < 4; ++c) {
        const F32 low_left = _mm512_shuffle_f32x4(q[0][c], q[1][c], 0x44);
        const F32 low_right = _mm512_shuffle_f32x4(q[0][c], q[1][c], 0xEE);
        const F32 high_left = _mm512_shuffle_f32x4(q[2][c], q[3][c], 0x44);
        const F32 high_right = _mm512_shuffle_f32x4(q[2][c], q[3][c], 0xEE);
        rows[c] = _mm512_shuffle_f32x4(low_left, high_left, 0x88);
        rows[c + 4] = _mm512_shuffle_f32x4(low_left, high_left, 0xDD);
        rows[c + 8] = _mm512_shuffle_f32x4(low_right, high_right, 0x88);
        rows[c + 12] = _mm512_shuffle_f32x4(low_right, high_right, 0xDD);
    }
}

using I32 = __m512i;  // as many int32 as there are floats
inline I32 set(std::int32_t x) { return _mm512_set1_epi32(x); }
inline I32 load(const std::uint8_t* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline I32 load_pairs(const void* p) { return _mm512_loadu_si512(p); }  // two uint16 a lane
inline I32 low_halves(I32 a) { return _mm512_and_si512(a, _mm512_set1_epi32(0xFFFF)); }
inline I32 high_halves(I32 a) { return _mm512_srli_epi32(a, 16); }
inline I32 add(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
inline Mask is_less(I32 a, I32 b) { return _mm512_cmplt_epi32_mask(a, b); }
inline Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
inline F32 lookup(F32 table, I32 index) { return _mm512_permutexvar_ps(index, table); }  // index < kLanes
inline F32 gather(const float* p, I32 index) { return _mm512_i32gather_ps(index, p, 4); }
inline void store_bytes(std::uint8_t* p, Mask mask) {  // 1 or 0 a lane
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(mask, 1));
}
inline std::size_t count(Mask mask) { return static_cast<std::size_t>(__builtin_popcount(mask)); }

#else

using F32 = __m256;   // 8 floats
using Mask = __m256;  // all bits of a lane, or none
constexpr std::size_t kLanes = 8;

inline F32 zeros() { return _mm256_setzero_ps(); }
inline F32 set(float x) { return _mm256_set1_ps(x); }
inline F32 load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, F32 x) { _mm256_storeu_ps(p, x); }

inline Mask first_lanes(std::size_t count) {  // a window that slides over ones followed by zeros; count <= 8
    alignas(32) static const std::int32_t window[2 * kLanes] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(window + kLanes - count)));
}
inline F32 load(const float* p, Mask mask) { return _mm256_maskload_ps(p, _mm256_castps_si256(mask)); }
inline void store(float* p, F32 x, Mask mask) { _mm256_maskstore_ps(p, _mm256_castps_si256(mask), x); }
inline F32 gather(const float* p, const std::int32_t* index) {
    return _mm256_i32gather_ps(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), 4);
}
inline F32 gather(const float* p, const std::int32_t* index, Mask mask) {
    return _mm256_mask_i32gather_ps(zeros(), p, _mm256_maskload_epi32(index, _mm256_castps_si256(mask)), mask, 4);
}

inline F32 load(const std::int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline F32 load_halves(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// table[index[lane]] for kLanes indices in [0, 16), from registers
inline F32 lookup_16(const float* table, const std::int32_t* index) {
    const __m256i i = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
    const F32 low = _mm256_permutevar8x32_ps(load(table), i), high = _mm256_permutevar8x32_ps(load(table + 8), i);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));  // bit 3 becomes the sign
}

inline F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
inline F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
inline F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
inline F32 div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
inline F32 reciprocal_estimate(F32 a) { return _mm256_rcp_ps(a); }  // within 1.5 x 2^-12
constexpr int kReciprocalSteps = 2;
inline F32 min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
inline F32 max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
inline F32 sqrt(F32 a) { return _mm256_sqrt_ps(a); }
inline F32 abs(F32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }    // a b + c
inline F32 fnma(F32 a, F32 b, F32 c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a b
inline F32 round(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline F32 scale_by_power_of_2(F32 a, F32 n) {  // a 2^n, n whole; in two steps, so that tiny results come out right
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
    const auto power = [&](__m256i e) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, bias), 23)); };
    return mul(mul(a, power(half)), power(_mm256_sub_epi32(whole, half)));
}

inline Mask is_less(F32 a, F32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline bool all_lanes(Mask mask) { return _mm256_movemask_ps(mask) == 0xff; }
inline F32 select(Mask mask, F32 yes, F32 no) { return _mm256_blendv_ps(no, yes, mask); }

inline float sum(F32 a) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float largest(F32 a) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
// The sums of four vectors, each added up in the same order wherever it stands among them.
inline __m128 sums(F32 a, F32 b, F32 c, F32 d) {
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));  // half of each is left
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

// rows[i][j] <-> rows[j][i]: pairs, then quads within each half, then the halves themselves.
inline void transpose(F32 (&rows)[kLanes]) {
    F32 t[kLanes], q[kLanes];  // q[i]: rows 0 .. 3 of columns i and i + 4 for i < 4, rows 4 .. 7 for the others
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        q[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        q[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        q[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        q[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int c = 0; c < 4; ++c) {
        rows[c] = _mm256_permute2f128_ps(q[c], q[c + 4], 0x20);
        rows[c + 4] = _mm256_permute2f128_ps(q[c], q[c + 4], 0x31);
    }
}

using I32 = __m256i;  // as many int32 as there are floats
inline I32 set(std::int32_t x) { return _mm256_set1_epi32(x); }
inline I32 load(const std::uint8_t* p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
inline I32 load_pairs(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }  // two uint16 a lane
inline I32 low_halves(I32 a) { return _mm256_and_si256(a, _mm256_set1_epi32(0xFFFF)); }
inline I32 high_halves(I32 a) { return _mm256_srli_epi32(a, 16); }
inline I32 add(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
inline Mask is_less(I32 a, I32 b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)); }
inline Mask both(Mask a, Mask b) { return _mm256_and_ps(a, b); }
inline F32 lookup(F32 table, I32 index) { return _mm256_permutevar8x32_ps(table, index); }  // index < kLanes
inline F32 gather(const float* p, I32 index) { return _mm256_i32gather_ps(p, index, 4); }
inline void store_bytes(std::uint8_t* p, Mask mask) {  // 1 or 0 a lane
    const __m256i ones = _mm256_srli_epi32(_mm256_castps_si256(mask), 31);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(ones), _mm256_extracti128_si256(ones, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
inline std::size_t count(Mask mask) { return static_cast<std::size_t>(__builtin_popcount(_mm256_movemask_ps(mask))); }

#endif

// 1 / a within 2 ulp for a normal a whose reciprocal is one too; a fraction of a division's time.
inline F32 reciprocal(F32 a) {
    F32 r = reciprocal_estimate(a);
    for (int i = 0; i < kReciprocalSteps; ++i) r = fma(r, fnma(a, r, set(1.0f)), r);  // Newton
    return r;
}

// 2^x within 2 ulp; 0 below -150, infinity above 128. x = n + f, |f| <= 1/2: 2^n times the Taylor series of e^(f ln 2),
// whose eighth term is below 1e-8.
inline F32 exp2(F32 x) {
    x = min(set(129.0f), max(set(-151.0f), x));  // in this order a NaN stays one
    const F32 n = round(x), f = sub(x, n);
    F32 p = set(1.5252734e-5f);  // (ln 2)^7 / 7!
    p = fma(p, f, set(1.5403530e-4f));
    p = fma(p, f, set(1.3333558e-3f));
    p = fma(p, f, set(9.6181291e-3f));
    p = fma(p, f, set(5.5504109e-2f));
    p = fma(p, f, set(2.4022651e-1f));
    p = fma(p, f, set(6.9314718e-1f));
    p = fma(p, f, set(1.0f));
    return scale_by_power_of_2(p, n);
}

// e^x within 2 ulp; 0 below -104, infinity above 88.73. x = n ln 2 + r with ln 2 in two parts, so that r is exact.
inline F32 exp(F32 x) {
    x = min(set(89.0f), max(set(-104.5f), x));  // in this order a NaN stays one
    const F32 n = round(mul(x, set(1.44269504f)));
    const F32 r = fnma(n, set(-2.12194440e-4f), fnma(n, set(0.693359375f), x));
    F32 p = set(1.9841270e-4f);  // 1 / 7!
    p = fma(p, r, set(1.3888889e-3f));
    p = fma(p, r, set(8.3333333e-3f));
    p = fma(p, r, set(4.1666667e-2f));
    p = fma(p, r, set(1.6666667e-1f));
    p = fma(p, r, set(0.5f));
    p = fma(p, r, set(1.0f));
    p = fma(p, r, set(1.0f));
    return scale_by_power_of_2(p, n);
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows.
inline F32 sigmoid(F32 x) {
    const F32 e = exp(sub(zeros(), abs(x))), one = set(1.0f);
    return div(select(is_less(x, zeros()), e, one), add(one, e));
}

// tanh x: from e^-2|x|, and a polynomial below 0.625, where that would cancel (coefficients of Moshier's Cephes).
inline F32 tanh(F32 x) {
    const F32 a = abs(x), e = exp(mul(a, set(-2.0f))), one = set(1.0f);
    const F32 large = div(sub(one, e), add(one, e));
    const F32 z = mul(x, x);
    F32 p = set(-5.70498872745e-3f);
    p = fma(p, z, set(2.06390887954e-2f));
    p = fma(p, z, set(-5.37397155531e-2f));
    p = fma(p, z, set(1.33314422036e-1f));
    p = fma(p, z, set(-3.33332819422e-1f));
    const F32 small = fma(mul(p, z), x, x);
    return select(is_less(a, set(0.625f)), small, select(is_less(x, zeros()), sub(zeros(), large), large));
}

}  // namespace
}  // namespace ruvllm::kernels::RUVLLM_VARIANT
