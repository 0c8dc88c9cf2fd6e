// Which row a node id has, and the memory of both arenas of edges.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "engines/graph_storage.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::size_t kSmallest = 64;  // entries an array starts with when it grows by and by

std::size_t home_of(std::int64_t id, unsigned shift) {  // Fibonacci hashing: the upper bits of id * 2^64 / phi
    return static_cast<std::size_t>(static_cast<std::uint64_t>(id) * 0x9E3779B97F4A7C15u >> shift);
}

// The size an array of `capacity` grows to: what is needed, and at least an eighth more than it had.
std::size_t enlarged(std::size_t capacity, std::size_t need) {
    return std::max({need, capacity + capacity / 8, kSmallest});
}

// Packing is worth its time when more than 3/8 of the arena lie idle.
bool is_loose(std::size_t used, std::size_t end) { return end >= kSmallest && (end - used) * 8 > end * 3; }

void require_32_bits(std::size_t count, const char* what) {
    if (count >= kNone) throw std::length_error(std::string("a graph must hold fewer than 2**32 - 1 ") + what);
}

}  // namespace

std::uint32_t GraphStorage::find_row(std::int64_t id) const {
    if (table_size_ == 0) return kNone;
    for (std::size_t i = home_of(id, table_shift_);; i = (i + 1) & (table_size_ - 1)) {
        const std::uint32_t row = table_[i];
        if (row == kNone || nodes_[row].id == id) return row;
    }
}

void GraphStorage::find_rows(const std::int64_t* ids, std::size_t n, std::uint32_t* rows) const {
    constexpr std::size_t kTableAhead = 16, kNodeAhead = 8;  // two dependent misses of the cache an id, overlapped
    if (table_size_ == 0) {
        std::fill_n(rows, n, kNone);
        return;
    }
    const auto ask_for_table = [&](std::size_t i) {
        if (i < n) __builtin_prefetch(&table_[home_of(ids[i], table_shift_)]);
    };
    const auto ask_for_node = [&](std::size_t i) {
        const std::uint32_t row = i < n ? table_[home_of(ids[i], table_shift_)] : kNone;
        if (row != kNone) __builtin_prefetch(&nodes_[row]);
    };
    for (std::size_t i = 0; i < kTableAhead; ++i) ask_for_table(i);
    for (std::size_t i = 0; i < kNodeAhead; ++i) ask_for_node(i);
    for (std::size_t i = 0; i < n; ++i) {
        ask_for_table(i + kTableAhead);
        ask_for_node(i + kNodeAhead);
        rows[i] = find_row(ids[i]);
    }
}

void GraphStorage::reserve_rows(std::size_t more) {
    const std::size_t from_free = std::min(more, free_rows_.size()), need = end_row_ + more - from_free;
    require_32_bits(need, "nodes");
    if (need > nodes_.capacity()) nodes_.reserve(enlarged(nodes_.capacity(), need));
    std::size_t size = std::max(table_size_, kSmallest);
    while (size / 4 * 3 < num_nodes_ + more) size *= 2;
    if (size > table_size_) rebuild_table(size);
}

void GraphStorage::rebuild_table(std::size_t size) {
    Buffer<std::uint32_t> table;
    table.reserve(size);
    table_.swap(table);
    std::fill_n(table_.data(), size, kNone);
    table_size_ = size;
    table_shift_ = 64;
    for (std::size_t s = size; s > 1; s /= 2) --table_shift_;
    for (std::uint32_t row = 0; row < end_row_; ++row) {
        if (!is_live(row)) continue;
        std::size_t i = home_of(nodes_[row].id, table_shift_);
        while (table_[i] != kNone) i = (i + 1) & (size - 1);
        table_[i] = row;
    }
}

void GraphStorage::add_row(std::int64_t id) {
    std::uint32_t row = end_row_;
    if (free_rows_.empty()) {
        ++end_row_;
    } else {
        row = free_rows_.back();
        free_rows_.pop_back();
    }
    nodes_[row] = {id, {}, {}};
    std::size_t i = home_of(id, table_shift_);
    while (table_[i] != kNone) i = (i + 1) & (table_size_ - 1);
    table_[i] = row;
    ++num_nodes_;
}

void GraphStorage::remove_row(std::uint32_t row) {
    NodeRow& node = nodes_[row];
    out_blocks_.give_back(node.out.begin, node.out.capacity);
    in_blocks_.give_back(node.in.begin, node.in.capacity);
    const std::size_t last = table_size_ - 1;
    std::size_t hole = home_of(node.id, table_shift_);
    while (table_[hole] != row) hole = (hole + 1) & last;
    // Linear probing: pull back what was pushed past the hole.
    for (std::size_t i = (hole + 1) & last; table_[i] != kNone; i = (i + 1) & last) {
        const std::size_t home = home_of(nodes_[table_[i]].id, table_shift_);
        if (((i - home) & last) < ((i - hole) & last)) continue;
        table_[hole] = table_[i];
        hole = i;
    }
    table_[hole] = kNone;
    node.out = {kNone, 0, 0};
    node.in = {};
    free_rows_.push_back(row);
    --num_nodes_;
}

void GraphStorage::reserve_removals(std::size_t more) { free_rows_.reserve(free_rows_.size() + more); }

void GraphStorage::reserve_slots(const std::vector<EdgeItem>& items) {
    std::size_t more = missing_slots(items);
    if (out_blocks_.end() + more > columns_.capacity() && is_loose(num_edges_, out_blocks_.end())) {
        pack_slots();
        more = missing_slots(items);  // packing took the slack
    }
    if (out_blocks_.end() + more <= columns_.capacity()) return;
    const std::size_t count = enlarged(columns_.capacity(), out_blocks_.end() + more);
    require_32_bits(count, "edges");
    columns_.reserve(count);
}

void GraphStorage::reserve_incoming(const std::vector<EdgeItem>& items) {
    std::size_t more = missing_incoming(items);
    if (in_blocks_.end() + more > incoming_.capacity() && is_loose(num_edges_, in_blocks_.end())) {
        pack_incoming();
        more = missing_incoming(items);
    }
    if (in_blocks_.end() + more <= incoming_.capacity()) return;
    const std::size_t count = enlarged(incoming_.capacity(), in_blocks_.end() + more);
    require_32_bits(count, "edges");
    incoming_.reserve(count);
}

// Moves the blocks of all nodes, without slack, to new columns.
void GraphStorage::pack_slots() {
    EdgeColumns packed;
    packed.reserve(num_edges_);
    Buffer<std::uint32_t> moved_to;  // by old slot
    moved_to.reserve(out_blocks_.end());
    BlockAllocator blocks(static_cast<std::uint32_t>(num_edges_));
    std::uint32_t slot = 0;
    for (std::uint32_t row = 0; row < end_row_; ++row) {
        if (!is_live(row)) continue;
        Span& out = nodes_[row].out;
        for (std::uint32_t i = 0; i < out.size; ++i) {
            packed.copy(columns_, out.begin + i, slot + i);
            moved_to[out.begin + i] = slot + i;
        }
        out = {slot, out.size, out.size};
        slot += out.size;
    }
    for (std::uint32_t row = 0; row < end_row_; ++row) {
        const Span& in = nodes_[row].in;
        for (std::uint32_t i = in.begin; i < in.begin + in.size; ++i) incoming_[i].slot = moved_to[incoming_[i].slot];
    }
    std::swap(columns_, packed);
    out_blocks_ = std::move(blocks);
}

void GraphStorage::pack_incoming() {
    Buffer<Incoming> packed;
    packed.reserve(num_edges_);
    BlockAllocator blocks(static_cast<std::uint32_t>(num_edges_));
    std::uint32_t begin = 0;
    for (std::uint32_t row = 0; row < end_row_; ++row) {
        Span& in = nodes_[row].in;
        std::copy_n(incoming_.data() + in.begin, in.size, packed.data() + begin);
        in = {begin, in.size, in.size};
        begin += in.size;
    }
    incoming_.swap(packed);
    in_blocks_ = std::move(blocks);
}

}  // namespace ruvllm::engines
