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
    LocalNodes() : table_(kSmallest, Entry{kNone, 0}) {}

    const std::vector<std::uint32_t>& rows() const { return rows_; }

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
    static constexpr std::size_t kSmallest = 64;

    std::size_t home(std::uint32_t row) const { return (row * 0x9E3779B1u >> 7) & (table_.size() - 1); }

    void put(std::uint32_t row, std::uint32_t place) {
        std::size_t i = home(row);
        while (table_[i].row != kNone) i = (i + 1) & (table_.size() - 1);
        table_[i] = {row, place};
    }

    void enlarge() {
        table_.assign(4 * table_.size(), Entry{kNone, 0});
        for (std::size_t i = 0; i < rows_.size(); ++i) put(rows_[i], static_cast<std::uint32_t>(i));
    }

    std::vector<Entry> table_;
    std::vector<std::uint32_t> rows_;
};

// Calls found(place of src, place of dst, slot) for every edge with both ends in `nodes`, by source. The out-edges of a
// node are read one by one; a hub, with many more of them than there are nodes, is looked for among the incoming edges
// of the others instead, so that it costs O(nodes log degree).
template <typename Found>
void for_each_edge_among(const GraphStorage& storage, const LocalNodes& nodes, const Found& found) {
    constexpr std::size_t kAhead = 4;
    const std::vector<std::uint32_t>& rows = nodes.rows();
    const std::uint32_t* dst = storage.columns().dst.data();
    for (std::uint32_t i = 0; i < rows.size(); ++i) {
        if (i + 2 * kAhead < rows.size()) __builtin_prefetch(&storage.node(rows[i + 2 * kAhead]));
        if (i + kAhead < rows.size()) __builtin_prefetch(dst + storage.node(rows[i + kAhead]).out.begin);
        const Span out = storage.node(rows[i]).out;
        if (out.size <= 32 * rows.size()) {
            for (std::uint32_t slot = out.begin; slot < out.begin + out.size; ++slot) {
                const std::uint32_t j = nodes.find(dst[slot]);
                if (j != kNone) found(i, j, slot);
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
