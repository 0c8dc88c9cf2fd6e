#include "runtime/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/matmul.hpp"
#include "kernels/quantized_matmul.hpp"
#include "kernels/transformer.hpp"

namespace ruvllm::runtime {
namespace {

using kernels::kGroup;
using kernels::kInt4Group;
using kernels::kPanel;
using kernels::kPanelColumns;
using kernels::padded_to;

constexpr std::size_t kStep = 192;  // positions: whole panels of both kinds, and whole groups
static_assert(kStep % kPanelColumns == 0 && kStep % kPanel == 0 && kStep % kGroup == 0);

// One vector with one scale, each entry + 128; a vector of zeros has scale 0, one that is not finite NaN. Rounds to the nearest, ties to even.
float quantize(const float* x, std::size_t n, std::uint8_t* bytes) {
    constexpr float kRounder = 12582912.0f;  // 1.5 x 2^23: beside it only whole numbers are left
    float largest = 0.0f, nothing = 0.0f;
    for (std::size_t i = 0; i < n; ++i) {
        largest = std::max(largest, std::fabs(x[i]));
        nothing += 0.0f * x[i];
    }
    if (std::isnan(nothing)) {  // a NaN or an infinity among them, which must not get lost
        std::fill_n(bytes, n, std::uint8_t{128});
        return nothing;
    }
    const float inverse = largest >= kernels::kLeast ? 127.0f / largest : 0.0f;
    for (std::size_t i = 0; i < n; ++i) {
        const float rounded = (x[i] * inverse + kRounder) - kRounder;
        bytes[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(rounded) + 128);
    }
    return largest / 127.0f;
}

}  // namespace

void AttentionScratch::reserve(std::size_t rows, std::size_t n, std::size_t head_dim) {
    n = padded_to(n, kStep);  // not anew for every token
    const std::size_t most = std::max(n, padded_to(head_dim, kGroup));
    queries.reserve(rows * head_dim);
    context.reserve(rows * head_dim);
    counts.reserve(rows);
    scores.reserve(rows * n);
    values.reserve(rows * most);
    scales.reserve(rows * most / kGroup + kPanel);
    offsets.reserve(rows * most / kGroup);
    sums.reserve(rows * most / kInt4Group);
}

KvCache::KvCache(std::size_t num_heads, std::size_t head_dim, KvType type)
    : num_heads_(num_heads),
      head_dim_(head_dim),
      type_(type),
      padded_dim_(padded_to(head_dim, kGroup)),
      padded_panels_(padded_to(head_dim, kPanel)) {}

void KvCache::reserve(std::size_t tokens, std::size_t limit) {
    if (tokens <= capacity_) return;
    KvCache grown(num_heads_, head_dim_, type_);
    grown.capacity_ = padded_to(std::max(tokens, std::min(limit, capacity_ + capacity_ / 2)), kStep);
    const std::size_t all = num_heads_ * grown.capacity_;
    if (type_ == KvType::float32) {
        grown.keys_.reserve(all * head_dim_);
        grown.values_.reserve(all * head_dim_);
        std::fill_n(grown.keys_.data(), all * head_dim_, 0.0f);
        std::fill_n(grown.values_.data(), all * head_dim_, 0.0f);
    } else {
        grown.key_bytes_.reserve(all * padded_dim_);
        grown.value_bytes_.reserve(all * padded_panels_);
        grown.key_scales_.reserve(all);
        grown.value_scales_.reserve(all);
        std::memset(grown.key_bytes_.data(), 128, all * padded_dim_);
        std::memset(grown.value_bytes_.data(), 128, all * padded_panels_);
        std::fill_n(grown.key_scales_.data(), all, 0.0f);
        std::fill_n(grown.value_scales_.data(), all, 0.0f);
    }
    grown.copy_from(*this, capacity_);
    *this = std::move(grown);
}

// visit(what, first byte of it, bytes) for the stretches that hold the first `tokens` positions, in a fixed order: the
// same count for the same number of tokens, whatever the capacity.
template <typename Visit>
void KvCache::each_column(std::size_t tokens, Visit visit) const {
    if (tokens == 0) return;
    for (std::size_t head = 0; head < num_heads_; ++head) {
        const std::size_t at = head * capacity_;
        if (type_ == KvType::float32) {
            visit(reinterpret_cast<std::uint8_t*>(keys_.data() + at * head_dim_),
                  padded_to(tokens, kPanelColumns) * head_dim_ * sizeof(float));
            visit(reinterpret_cast<std::uint8_t*>(values_.data() + at * head_dim_), tokens * head_dim_ * sizeof(float));
            continue;
        }
        visit(key_quads(head), padded_to(tokens, kPanel) * padded_dim_);
        for (std::size_t panel = 0; panel < padded_panels_; panel += kPanel) {
            visit(value_quads(head) + panel * capacity_, padded_to(tokens, 4) * kPanel);
        }
        visit(reinterpret_cast<std::uint8_t*>(key_scales_.data() + at), tokens * sizeof(float));
        visit(reinterpret_cast<std::uint8_t*>(value_scales_.data() + at), tokens * sizeof(float));
    }
}

void KvCache::copy_from(const KvCache& other, std::size_t tokens) {
    std::vector<const std::uint8_t*> from;
    other.each_column(tokens, [&](std::uint8_t* bytes, std::size_t) { from.push_back(bytes); });
    std::size_t i = 0;
    each_column(tokens, [&](std::uint8_t* bytes, std::size_t size) { std::memcpy(bytes, from[i++], size); });
}

void KvCache::save(engines::SnapshotWriter& writer, std::size_t tokens) const {
    each_column(tokens, [&](std::uint8_t* bytes, std::size_t size) { writer.put_all(bytes, size); });
}

void KvCache::load(engines::SnapshotReader& reader, std::size_t tokens) {
    each_column(tokens, [&](std::uint8_t* bytes, std::size_t size) {
        const auto column = reader.take_column<std::uint8_t>(size);
        std::memcpy(bytes, column.data(), size);
    });
}

void KvCache::write(std::size_t head, std::size_t position, const float* key, const float* value) {
    const std::size_t row = head * capacity_ + position;
    if (type_ == KvType::float32) {
        float* panel = keys_.data() + (row - position % kPanelColumns) * head_dim_ + position % kPanelColumns;
        for (std::size_t i = 0; i < head_dim_; ++i) panel[i * kPanelColumns] = key[i];
        std::copy_n(value, head_dim_, values_.data() + row * head_dim_);
        return;
    }
    std::uint8_t bytes[kMaxHeadDim];
    key_scales_.data()[row] = quantize(key, head_dim_, bytes);
    std::uint8_t* keys = key_quads(head) + position / kPanel * (kPanel * padded_dim_) + position % kPanel * 4;
    for (std::size_t i = 0; i < head_dim_; ++i) {
        keys[i / 4 * (4 * kPanel) + i % 4] = bytes[i];
    }
    value_scales_.data()[row] = quantize(value, head_dim_, bytes);
    std::uint8_t* values = value_quads(head) + position / 4 * (4 * kPanel) + position % 4;
    for (std::size_t i = 0; i < head_dim_; ++i) {
        values[i / kPanel * (kPanel * capacity_) + i % kPanel * 4] = bytes[i];
    }
}

void KvCache::attend(std::size_t head, const float* queries, std::size_t rows, const std::size_t* counts,
                     std::size_t n, AttentionScratch& scratch, float* out) const {
    if (type_ == KvType::float32) return attend_float(head, queries, rows, counts, n, scratch, out);
    attend_int8(head, queries, rows, counts, n, scratch, out);
}

void KvCache::attend_float(std::size_t head, const float* queries, std::size_t rows, const std::size_t* counts,
                           std::size_t n, AttentionScratch& scratch, float* out) const {
    const std::size_t at = head * capacity_ * head_dim_;
    float* scores = scratch.scores.data();
    kernels::matmul_packed(queries, head_dim_, keys_.data() + at, rows, n, head_dim_, false, scores, n);
    kernels::softmax_rows(scores, n, rows, n, counts);
    kernels::matmul(scores, n, values_.data() + at, head_dim_, rows, head_dim_, n, false, out, head_dim_);
}

void KvCache::attend_int8(std::size_t head, const float* queries, std::size_t rows, const std::size_t* counts,
                          std::size_t n, AttentionScratch& scratch, float* out) const {
    const std::size_t k = padded_to(n, kGroup);
    const float *key_scales = key_scales_.data() + head * capacity_, *value_scales = value_scales_.data() + head * capacity_;
    float *scores = scratch.scores.data(), *scales = scratch.scales.data() + kPanel;
    std::int8_t* values = scratch.values.data();
    std::int32_t *offsets = scratch.offsets.data(), *sums = scratch.sums.data();
    kernels::quantize_rows(queries, head_dim_, rows, head_dim_, values, scales, offsets, sums);
    kernels::matmul_int8({values, scales, offsets, sums, padded_dim_}, rows, key_quads(head), key_scales, nullptr,
                         n, false, scores, n);
    kernels::softmax_rows(scores, n, rows, n, counts);
    for (std::size_t i = 0; i < rows; ++i) {  // a value's scale belongs to its position, where the sum runs over
        for (std::size_t j = 0; j < n; ++j) scores[i * n + j] *= value_scales[j];
    }
    kernels::quantize_rows(scores, n, rows, n, values, scales, offsets, sums);
    float* ones = scratch.scales.data();
    std::fill_n(ones, kPanel, 1.0f);
    for (std::size_t panel = 0; panel < padded_panels_; panel += kPanel) {
        kernels::matmul_int8({values, scales, offsets, sums, k}, rows, value_quads(head) + panel * capacity_, ones,
                             nullptr, std::min(kPanel, head_dim_ - panel), false, out + panel, head_dim_);
    }
}

std::size_t KvCache::bytes() const {
    return (keys_.size() + values_.size() + key_scales_.size() + value_scales_.size()) * sizeof(float) +
           key_bytes_.size() + value_bytes_.size();
}

}  // namespace ruvllm::runtime
