// AVX2 and AVX-512: a vector of postings or rows at a time; scores of postings are added one by one, as they lie apart.
#include "kernels/bm25.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

#ifdef __AVX512F__
struct Postings {
    __m512i rows;
    F32 tfs;
};
inline Postings unpack(const std::uint32_t* postings) {
    const __m512i packed = _mm512_loadu_si512(postings);
    return {_mm512_srli_epi32(packed, kTfBits), _mm512_cvtepi32_ps(_mm512_and_si512(packed, _mm512_set1_epi32(255)))};
}
inline F32 bytes_to_floats(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline unsigned bits_at_least(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
#else
struct Postings {
    __m256i rows;
    F32 tfs;
};
inline Postings unpack(const std::uint32_t* postings) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(postings));
    return {_mm256_srli_epi32(packed, kTfBits), _mm256_cvtepi32_ps(_mm256_and_si256(packed, _mm256_set1_epi32(255)))};
}
inline F32 bytes_to_floats(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline unsigned bits_at_least(F32 a, F32 b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
#endif

}  // namespace

void add_sparse_scores(const std::uint32_t* postings, std::size_t num_postings, const float* norms,
                       std::uint32_t first_row, float weight, float* scores) {
    const F32 weights = set(weight);
    std::size_t i = 0;
    for (; i + kLanes <= num_postings; i += kLanes) {
        const Postings p = unpack(postings + i);
        alignas(64) float added[kLanes];
        store(added, div(mul(weights, p.tfs), add(p.tfs, gather(norms, p.rows))));
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            scores[(postings[i + lane] >> kTfBits) - first_row] += added[lane];
        }
    }
    scalar::add_sparse_scores(postings + i, num_postings - i, norms, first_row, weight, scores);
}

void add_dense_scores(const std::uint8_t* tfs, const float* norms, std::size_t num_rows, float weight, float* scores) {
    const F32 weights = set(weight), smallest = set(1.17549435e-38f);
    std::size_t i = 0;
    for (; i + kLanes <= num_rows; i += kLanes) {
        const F32 tf = bytes_to_floats(tfs + i);
        const F32 divisor = max(add(tf, load(norms + i)), smallest);  // k1 = 0 and tf = 0: 0 / tiny, not 0 / 0
        store(scores + i, add(load(scores + i), div(mul(weights, tf), divisor)));
    }
    scalar::add_dense_scores(tfs + i, norms + i, num_rows - i, weight, scores + i);
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
