// The arrays behind a graph: dense rows for nodes, columns for edges, both directions of adjacency. No locks, no checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/block_allocator.hpp"
#include "engines/buffer.hpp"
#include "kernels/edge_decay.hpp"

namespace ruvllm::engines {

inline constexpr std::uint32_t kNone = UINT32_MAX;  // no row, no slot

struct Span {
    std::uint32_t begin = 0, size = 0, capacity = 0;
};

struct NodeRow {
    std::int64_t id;
    Span out;  // slots of the edge columns: the edges that leave this node, in no order
    Span in;   // range of incoming(): the edges that reach it, by source row
};

struct Incoming {
    std::uint32_t src, slot;
};

// The columns of the edges, 17 bytes a slot. The edges of one source fill a block of slots. A slot that holds no edge
// looks freshly used and heavy, so that decay over whole columns neither moves nor prunes it.
struct EdgeColumns {
    Buffer<std::uint32_t> dst;
    Buffer<float> weight, last_used;
    Buffer<kernels::EdgeCounts> counts;
    Buffer<std::uint8_t> type;

    void reserve(std::size_t count);
    std::size_t capacity() const { return type.capacity(); }  // the column reserved last
    std::size_t bytes() const;
    void copy(const EdgeColumns& from, std::size_t slot, std::size_t to);
    void clear(std::size_t slot);
};

// Edges by the ids of their ends, (n,) each. A column that is null keeps what an edge has; a new edge then has zeros.
struct EdgeBatch {
    const std::int64_t* src = nullptr;
    const std::int64_t* dst = nullptr;
    const std::uint8_t* type = nullptr;
    std::size_t n = 0;
    const float* weight = nullptr;     // in [0, 1]
    const float* last_used = nullptr;  // finite, seconds since the epoch of the graph
    const std::uint16_t* successes = nullptr;
    const std::uint16_t* failures = nullptr;
};

// One edge of a batch while it is added.
struct EdgeItem {
    std::uint64_t key;      // src row << 32 | dst row, then dst row << 32 | src row
    std::uint32_t position;  // in the batch, then the slot
    std::uint8_t type;
};

class GraphStorage {
  public:
    // Rows.
    std::uint32_t find_row(std::int64_t id) const;
    void find_rows(const std::int64_t* ids, std::size_t n, std::uint32_t* rows) const;  // kNone where unknown
    void reserve_rows(std::size_t more);       // room for `more` calls of add_row
    void add_row(std::int64_t id);             // `id` is unknown
    void reserve_removals(std::size_t more);   // room for `more` calls of remove_row
    void remove_row(std::uint32_t row);        // a live row without edges
    std::uint32_t end_row() const { return end_row_; }
    bool is_live(std::uint32_t row) const { return nodes_[row].out.begin != kNone; }
    const NodeRow& node(std::uint32_t row) const { return nodes_[row]; }
    std::size_t num_nodes() const { return num_nodes_; }

    // Edges.
    std::uint32_t find_slot(std::uint32_t src, std::uint32_t dst, std::uint8_t type) const;
    // Adds edges that are not there: `items` are sorted by src, dst, type and name places in `batch`, each edge once; on
    // return they are of no use. Throws std::bad_alloc or std::length_error, then nothing has changed.
    void insert(std::vector<EdgeItem>& items, const EdgeBatch& batch);
    void write(std::uint32_t slot, const EdgeBatch& batch, std::size_t position);  // the columns that are not null
    // Removes edges: pairs of source row and slot, each edge once; reordered. Throws std::bad_alloc, then nothing has
    // changed; never when the memory behind `gone`, which is overwritten, has room for all edges.
    void erase(std::vector<Incoming>& edges, std::vector<std::uint64_t> gone = {});

    EdgeColumns& columns() { return columns_; }
    const EdgeColumns& columns() const { return columns_; }
    const Incoming* incoming() const { return incoming_.data(); }
    std::uint32_t end_slot() const { return out_blocks_.end(); }
    std::size_t num_edges() const { return num_edges_; }
    std::size_t bytes() const;

  private:
    void rebuild_table(std::size_t size);
    Incoming& incoming_of(std::uint32_t dst, std::uint32_t src, std::uint32_t slot);
    void move_edge(std::uint32_t src, std::uint32_t from, std::uint32_t to);
    std::size_t missing_slots(const std::vector<EdgeItem>& items) const;
    std::size_t missing_incoming(const std::vector<EdgeItem>& items) const;
    void reserve_slots(const std::vector<EdgeItem>& items);
    void reserve_incoming(const std::vector<EdgeItem>& items);
    void pack_slots();
    void pack_incoming();
    void place(std::vector<EdgeItem>& items, const EdgeBatch& batch);
    void index_incoming(std::vector<EdgeItem>& items);

    Buffer<NodeRow> nodes_;
    Buffer<std::uint32_t> table_;  // open addressing: rows by a hash of their id, kNone where empty
    unsigned table_shift_ = 64;    // 64 - log2(size of the table)
    std::size_t table_size_ = 0, num_nodes_ = 0, num_edges_ = 0;
    std::uint32_t end_row_ = 0;
    std::vector<std::uint32_t> free_rows_;

    EdgeColumns columns_;
    Buffer<Incoming> incoming_;
    BlockAllocator out_blocks_, in_blocks_;
};

}  // namespace ruvllm::engines
