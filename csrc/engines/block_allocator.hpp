// Blocks of a growing arena: which entries belong to nobody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace ruvllm::engines {

// Hands out [begin, begin + capacity) ranges of an arena whose memory the caller owns. A range given back is handed out
// again when it fits within a quarter; what nobody asks for stays idle until the caller packs the arena.
class BlockAllocator {
  public:
    explicit BlockAllocator(std::uint32_t end = 0) : end_(end) {}

    // First entry that was never handed out: the arena must hold end() + capacity entries before a call of take().
    std::uint32_t end() const { return end_; }

    // The beginning of a range of at least `capacity` entries, >= 1; its real length replaces `capacity`.
    std::uint32_t take(std::uint32_t& capacity) {
        for (std::uint32_t fit = capacity; fit < kSmall && fit <= capacity + capacity / 4; ++fit) {
            if (small_[fit].empty()) continue;
            capacity = fit;
            const std::uint32_t begin = small_[fit].back();
            small_[fit].pop_back();
            return begin;
        }
        for (std::size_t i = large_.size(), tries = 0; i-- > 0 && tries < kTries; ++tries) {
            const auto [begin, length] = large_[i];
            if (length < capacity || length - capacity > capacity / 4) continue;
            large_[i] = large_.back();
            large_.pop_back();
            capacity = length;
            return begin;
        }
        const std::uint32_t begin = end_;
        end_ += capacity;
        return begin;
    }

    void give_back(std::uint32_t begin, std::uint32_t capacity) noexcept {
        if (capacity == 0) return;
        try {
            if (capacity < kSmall) {
                small_[capacity].push_back(begin);
            } else {
                large_.emplace_back(begin, capacity);
            }
        } catch (const std::bad_alloc&) {  // the range stays idle until the arena is packed
        }
    }

  private:
    static constexpr std::uint32_t kSmall = 64;
    static constexpr std::size_t kTries = 16;  // large ranges looked at for one request

    std::uint32_t end_;
    std::vector<std::uint32_t> small_[kSmall];  // beginnings of the free ranges of each length
    std::vector<std::pair<std::uint32_t, std::uint32_t>> large_;  // begin, length
};

}  // namespace ruvllm::engines
