// A small set of nodes and the edges among them: what expansion and reinforcement share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/graph_storage.hpp"

namespace ruvllm::engines {

// Rows in the order they were added, each once, with its place. Open addressing; grows with what it holds, so that a
// generous limit costs nothing.
class LocalNodes {
  public:
    LocalNodes() : table_(kSmallest, Entry{kNone, 0}), filter_(kSmallest * kFilterBits / 64) {}

    const std::vector<std::uint32_t>& rows() const { return rows_; }

    // False for nearly every row that is not there: one bit of a filter that stays in the first-level cache.
    bool may_hold(std::uint32_t row) const {
        const std::size_t bit = filter_bit(row);
        return filter_[bit / 64] >> (bit % 64) & 1;
    }

    std::uint32_t find(std::uint32_t row) const {  // kNone when it is not there
        for (std::size_t i = home(row);; i = (i + 1) & (table_.size() - 1)) {
            if (table_[i].row == row) return table_[i].place;
            if (table_[i].row == kNone) return kNone;
        }
    }

    bool add(std::uint32_t row) {  // false when it is there already
        if (find(row) != kNone) return false;
        if (2 * (rows_.size() + 1) > table_.size()) enlarge();
        put(row, static_cast<std::uint32_t>(rows_.size()));
        rows_.push_back(row);
        return true;
    }

  private:
    struct Entry {
        std::uint32_t row, place;
    };
    static constexpr std::size_t kSmallest = 64, kFilterBits = 16;  // entries of the table, bits of the filter for each

    static std::size_t hash(std::uint32_t row) { return row * 0x9E3779B97F4A7C15u >> 32; }
    std::size_t home(std::uint32_t row) const { return hash(row) & (table_.size() - 1); }
    std::size_t filter_bit(std::uint32_t row) const { return hash(row) & (64 * filter_.size() - 1); }

    void put(std::uint32_t row, std::uint32_t place) {
        std::size_t i = home(row);
        while (table_[i].row != kNone) i = (i + 1) & (table_.size() - 1);
        table_[i] = {row, place};
        const std::size_t bit = filter_bit(row);
        filter_[bit / 64] |= std::uint64_t{1} << (bit % 64);
    }

    void enlarge() {
        table_.assign(4 * table_.size(), Entry{kNone, 0});
        filter_.assign(table_.size() * kFilterBits / 64, 0);
        for (std::size_t i = 0; i < rows_.size(); ++i) put(rows_[i], static_cast<std::uint32_t>(i));
    }

    std::vector<Entry> table_;
    std::vector<std::uint64_t> filter_;
    std::vector<std::uint32_t> rows_;
};

// Calls found(place of src, place of dst, slot) for every edge with both ends in `nodes`, by source. The out-edges of a
// node are read one by one; a hub, with many more of them than there are nodes, is looked for among the incoming edges
// of the others instead, so that it costs O(nodes log degree).
template <typename Found>
void for_each_edge_among(const GraphStorage& storage, const LocalNodes& nodes, const Found& found) {
    constexpr std::size_t kAhead = 12;      // nodes: a node takes some 10 ns, a read from memory 100
    constexpr std::uint32_t kChunk = 64;  // slots filtered at once, without a branch
    std::uint32_t maybe[kChunk];
    const std::vector<std::uint32_t>& rows = nodes.rows();
    const std::uint32_t* dst = storage.columns().dst.data();
    for (std::uint32_t i = 0; i < rows.size(); ++i) {
        if (i + 2 * kAhead < rows.size()) __builtin_prefetch(&storage.node(rows[i + 2 * kAhead]));
        if (i + kAhead < rows.size()) __builtin_prefetch(dst + storage.node(rows[i + kAhead]).out.begin);
        const Span out = storage.node(rows[i]).out;
        if (out.size <= 32 * rows.size()) {
            const std::uint32_t end = out.begin + out.size;
            for (std::uint32_t slot = out.begin; slot < end;) {
                std::size_t count = 0;
                for (const std::uint32_t stop = std::min(slot + kChunk, end); slot < stop; ++slot) {
                    maybe[count] = slot;
                    count += nodes.may_hold(dst[slot]);
                }
                for (std::size_t k = 0; k < count; ++k) {
                    const std::uint32_t j = nodes.find(dst[maybe[k]]);
                    if (j != kNone) found(i, j, maybe[k]);
                }
            }
            continue;
        }
        for (std::uint32_t j = 0; j < rows.size(); ++j) {
            const Span in = storage.node(rows[j]).in;
            const Incoming* const end = storage.incoming() + in.begin + in.size;
            const Incoming* entry = std::lower_bound(end - in.size, end, rows[i],
                                                     [](const Incoming& e, std::uint32_t row) { return e.src < row; });
            for (; entry != end && entry->src == rows[i]; ++entry) found(i, j, entry->slot);
        }
    }
}

}  // namespace ruvllm::engines
