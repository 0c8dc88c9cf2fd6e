// AVX2 and AVX-512: a vector of postings or rows at a time; scores of postings are added one by one, as they lie apart.
#include "kernels/bm25.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

#ifdef __AVX512F__
inline I32 load_first(const std::uint32_t* p, std::size_t count) { return _mm512_maskz_loadu_epi32(first_lanes(count), p); }
inline I32 rows_of(I32 postings) { return _mm512_srli_epi32(postings, kTfBits); }
inline F32 tfs_of(I32 postings) { return _mm512_cvtepi32_ps(_mm512_and_si512(postings, set(255))); }
inline F32 bytes_to_floats(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline unsigned bits_at_least(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
#else
inline I32 load_first(const std::uint32_t* p, std::size_t count) {
    return _mm256_maskload_epi32(reinterpret_cast<const int*>(p), _mm256_castps_si256(first_lanes(count)));
}
inline I32 rows_of(I32 postings) { return _mm256_srli_epi32(postings, kTfBits); }
inline F32 tfs_of(I32 postings) { return _mm256_cvtepi32_ps(_mm256_and_si256(postings, set(255))); }
inline F32 bytes_to_floats(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline unsigned bits_at_least(F32 a, F32 b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
#endif

struct Norm {
    explicit Norm(LengthNorm norm) : at_zero(set(norm.at_zero)), slope(set(norm.slope)) {}
    F32 operator()(F32 length) const { return add(at_zero, mul(slope, length)); }
    F32 at_zero, slope;
};

}  // namespace

void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* lengths,
                       std::uint32_t first_row, float weight, LengthNorm norm, float* scores) {
    const F32 weights = set(weight);
    const Norm norms(norm);
    const auto add_up = [&](I32 packed, std::size_t i, std::size_t count) {
        const F32 tfs = tfs_of(packed);
        alignas(64) float added[kLanes];
        store(added, div(mul(weights, tfs), add(tfs, norms(gather(lengths, rows_of(packed))))));
        for (std::size_t lane = 0; lane < count; ++lane) {
            scores[(postings[i + lane] >> kTfBits) - first_row] += added[lane];
        }
    };
    std::size_t i = 0;
    for (; i + kLanes <= num_postings; i += kLanes) add_up(load_pairs(postings + i), i, kLanes);
    // Lanes past the end are postings of row 0, whose scores nobody reads.
    if (i < num_postings) add_up(load_first(postings + i, num_postings - i), i, num_postings - i);
}

void add_dense_scores(const std::uint8_t* tfs, const float* lengths, std::size_t num_rows, float weight,
                      LengthNorm norm, float* scores) {
    const F32 weights = set(weight), smallest = set(1.17549435e-38f);
    const Norm norms(norm);
    std::size_t i = 0;
    for (; i + kLanes <= num_rows; i += kLanes) {
        const F32 tf = bytes_to_floats(tfs + i);
        const F32 divisor = max(add(tf, norms(load(lengths + i))), smallest);  // k1 = 0 and tf = 0: 0 / tiny, not 0 / 0
        store(scores + i, add(load(scores + i), div(mul(weights, tf), divisor)));
    }
    scalar::add_dense_scores(tfs + i, lengths + i, num_rows - i, weight, norm, scores + i);
}

std::size_t rows_at_least(const float* scores, std::size_t num_rows, float at_least, std::uint32_t* rows) {
    const F32 bound = set(at_least);
    std::size_t count = 0, i = 0;
    for (; i + kLanes <= num_rows; i += kLanes) {
        for (unsigned bits = bits_at_least(load(scores + i), bound); bits != 0; bits &= bits - 1) {
            rows[count++] = static_cast<std::uint32_t>(i + static_cast<std::size_t>(__builtin_ctz(bits)));
        }
    }
    for (; i < num_rows; ++i) {
        if (scores[i] >= at_least) rows[count++] = static_cast<std::uint32_t>(i);
    }
    return count;
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
