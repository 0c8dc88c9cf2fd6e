// Keys and values of one attention layer of one sequence, laid out as the product kernels want their right operands:
// float32, or int8 with one scale for each vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engines/aligned.hpp"
#include "engines/bytes.hpp"

namespace ruvllm::runtime {

enum class KvType : std::uint8_t { float32, int8 };

inline constexpr std::size_t kMaxHeadDim = 512;

// Memory of one thread's attention.
struct AttentionScratch {
    // Room for `rows` queries over `n` positions. Throws std::bad_alloc.
    void reserve(std::size_t rows, std::size_t n, std::size_t head_dim);

    engines::AlignedBuffer<float> queries, keys, scores, context, scales;
    engines::AlignedBuffer<std::size_t> counts;
    engines::AlignedBuffer<std::int8_t> values;
    engines::AlignedBuffer<std::int32_t> offsets, sums;
};

class KvCache {
  public:
    KvCache(std::size_t num_heads, std::size_t head_dim, KvType type);

    // Room for `tokens` positions, what is there stays; grows by half at least. Throws std::bad_alloc, then nothing
    // has changed.
    void reserve(std::size_t tokens, std::size_t limit);

    // The key and value vector (head_dim,) of one head at one position.
    void write(std::size_t head, std::size_t position, const float* key, const float* value);

    // out (rows, head_dim) = softmax(q k^T) v over the first counts[i] positions for row i; q holds the softmax's scale.
    // `n` is the largest count, and `scratch` has room.
    void attend(std::size_t head, const float* queries, std::size_t rows, const std::size_t* counts, std::size_t n,
                AttentionScratch& scratch, float* out) const;

    std::size_t bytes() const;
    // The first `tokens` positions of another cache of the same shape.
    void copy_from(const KvCache& other, std::size_t tokens);
    void save(engines::SnapshotWriter& writer, std::size_t tokens) const;
    void load(engines::SnapshotReader& reader, std::size_t tokens);

  private:
    std::uint8_t* key_quads(std::size_t head) const { return key_bytes_.data() + head * padded_dim_ * capacity_; }
    std::uint8_t* value_quads(std::size_t head) const { return value_bytes_.data() + head * padded_panels_ * capacity_; }
    void attend_float(std::size_t head, const float* queries, std::size_t rows, const std::size_t* counts,
                      std::size_t n, AttentionScratch& scratch, float* out) const;
    void attend_int8(std::size_t head, const float* queries, std::size_t rows, const std::size_t* counts,
                     std::size_t n, AttentionScratch& scratch, float* out) const;
    template <typename Visit>
    void each_column(std::size_t tokens, Visit visit) const;

    std::size_t num_heads_, head_dim_;
    KvType type_;
    std::size_t padded_dim_;     // int8: of keys, a multiple of kGroup
    std::size_t padded_panels_;  // int8: of values, a multiple of kPanel
    std::size_t capacity_ = 0;   // positions, a multiple of kStep
    // float32: keys [head][capacity / 48][head_dim][48], values [head][capacity][head_dim]
    engines::AlignedBuffer<float> keys_, values_;
    // int8: keys [head][capacity / 16][padded_dim / 4][16][4], values [head][panel of 16 entries][capacity / 4][16][4],
    // both + 128, and a scale for every [head][position]
    engines::AlignedBuffer<std::uint8_t> key_bytes_, value_bytes_;
    engines::AlignedBuffer<float> key_scales_, value_scales_;
};

}  // namespace ruvllm::runtime
