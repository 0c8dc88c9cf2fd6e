// Rows and slots: where nodes and edges lie, and how both directions of adjacency stay in step.
#include "engines/graph_storage.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <stdexcept>

namespace ruvllm::engines {
namespace {

constexpr std::size_t kScan = 16;  // out-edges that are searched one by one

std::uint64_t pair_of(std::uint32_t high, std::uint32_t low) { return std::uint64_t{high} << 32 | low; }
std::uint32_t high_of(std::uint64_t pair) { return static_cast<std::uint32_t>(pair >> 32); }
std::uint32_t low_of(std::uint64_t pair) { return static_cast<std::uint32_t>(pair); }

// A block that is filled for the first time fits exactly, as bulk loads want it; one that grows gets slack.
std::uint32_t grown(const Span& span, std::size_t need) {
    return static_cast<std::uint32_t>(span.capacity == 0 ? need : need + need / 4);
}

// The end of the run of items that share the upper half of their key with items[i].
std::size_t group_end(const std::vector<EdgeItem>& items, std::size_t i) {
    std::size_t end = i + 1;
    while (end < items.size() && high_of(items[end].key) == high_of(items[i].key)) ++end;
    return end;
}

}  // namespace

void EdgeColumns::reserve(std::size_t count) {
    dst.reserve(count);
    weight.reserve(count);
    last_used.reserve(count);
    counts.reserve(count);
    type.reserve(count);
}

std::size_t EdgeColumns::bytes() const {
    return dst.bytes() + weight.bytes() + last_used.bytes() + counts.bytes() + type.bytes();
}

void EdgeColumns::copy(const EdgeColumns& from, std::size_t slot, std::size_t to) {
    dst[to] = from.dst[slot];
    weight[to] = from.weight[slot];
    last_used[to] = from.last_used[slot];
    counts[to] = from.counts[slot];
    type[to] = from.type[slot];
}

void EdgeColumns::clear(std::size_t slot) {
    dst[slot] = kNone;
    weight[slot] = 1.0f;
    last_used[slot] = std::numeric_limits<float>::max();
    counts[slot] = {0, 0};
    type[slot] = 0;
}

std::uint32_t GraphStorage::find_slot(std::uint32_t src, std::uint32_t dst, std::uint8_t type) const {
    const Span& out = nodes_[src].out;
    if (out.size <= kScan) {
        for (std::uint32_t slot = out.begin; slot < out.begin + out.size; ++slot) {
            if (columns_.dst[slot] == dst && columns_.type[slot] == type) return slot;
        }
        return kNone;
    }
    const Span& in = nodes_[dst].in;
    const Incoming* const end = incoming() + in.begin + in.size;
    const Incoming* entry = std::lower_bound(end - in.size, end, src,
                                             [](const Incoming& e, std::uint32_t row) { return e.src < row; });
    for (; entry != end && entry->src == src; ++entry) {
        if (columns_.type[entry->slot] == type) return entry->slot;
    }
    return kNone;
}

Incoming& GraphStorage::incoming_of(std::uint32_t dst, std::uint32_t src, std::uint32_t slot) {
    const Span& in = nodes_[dst].in;
    Incoming* const begin = incoming_.data() + in.begin;
    Incoming* entry = std::lower_bound(begin, begin + in.size, src,
                                       [](const Incoming& e, std::uint32_t row) { return e.src < row; });
    while (entry->slot != slot) ++entry;  // edges of several types between the same two nodes
    assert(entry < begin + in.size && entry->src == src);
    return *entry;
}

void GraphStorage::move_edge(std::uint32_t src, std::uint32_t from, std::uint32_t to) {
    columns_.copy(columns_, from, to);
    incoming_of(columns_.dst[from], src, from).slot = to;
    columns_.clear(from);
}

void GraphStorage::write(std::uint32_t slot, const EdgeBatch& batch, std::size_t position) {
    if (batch.weight) columns_.weight[slot] = batch.weight[position];
    if (batch.last_used) columns_.last_used[slot] = batch.last_used[position];
    if (batch.successes) columns_.counts[slot].successes = batch.successes[position];
    if (batch.failures) columns_.counts[slot].failures = batch.failures[position];
}

void GraphStorage::insert(std::vector<EdgeItem>& items, const EdgeBatch& batch) {
    reserve_slots(items);
    reserve_incoming(items);
    place(items, batch);
    std::sort(items.begin(), items.end(), [](const EdgeItem& a, const EdgeItem& b) { return a.key < b.key; });
    index_incoming(items);
    num_edges_ += items.size();
}

// Slots to allocate before the items can be placed.
std::size_t GraphStorage::missing_slots(const std::vector<EdgeItem>& items) const {
    std::size_t slots = 0;
    for (std::size_t i = 0, end = 0; i < items.size(); i = end) {
        end = group_end(items, i);
        const Span& out = nodes_[high_of(items[i].key)].out;
        if (out.size + (end - i) > out.capacity) slots += grown(out, out.size + (end - i));
    }
    return slots;
}

std::size_t GraphStorage::missing_incoming(const std::vector<EdgeItem>& items) const {
    std::vector<std::uint32_t> targets(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) targets[i] = low_of(items[i].key);
    std::sort(targets.begin(), targets.end());
    std::size_t entries = 0;
    for (std::size_t i = 0, end = 0; i < targets.size(); i = end) {
        while (end < targets.size() && targets[end] == targets[i]) ++end;
        const Span& in = nodes_[targets[i]].in;
        if (in.size + (end - i) > in.capacity) entries += grown(in, in.size + (end - i));
    }
    return entries;
}

// Gives each item a slot beside the other edges of its source. On return items hold dst << 32 | src and the slot.
void GraphStorage::place(std::vector<EdgeItem>& items, const EdgeBatch& batch) {
    for (std::size_t i = 0, end = 0; i < items.size(); i = end) {
        end = group_end(items, i);
        const std::uint32_t src = high_of(items[i].key);
        Span& out = nodes_[src].out;
        if (out.size + (end - i) > out.capacity) {
            Span to{0, out.size, grown(out, out.size + (end - i))};
            to.begin = out_blocks_.take(to.capacity);
            for (std::uint32_t k = 0; k < to.capacity; ++k) columns_.clear(to.begin + k);
            for (std::uint32_t k = 0; k < out.size; ++k) move_edge(src, out.begin + k, to.begin + k);
            out_blocks_.give_back(out.begin, out.capacity);
            out = to;
        }
        for (; i < end; ++i) {
            const std::uint32_t slot = out.begin + out.size++, dst = low_of(items[i].key);
            columns_.dst[slot] = dst;
            columns_.type[slot] = items[i].type;
            columns_.weight[slot] = columns_.last_used[slot] = 0.0f;
            columns_.counts[slot] = {0, 0};
            write(slot, batch, items[i].position);
            items[i].key = pair_of(dst, src);
            items[i].position = slot;
        }
    }
}

// Merges the placed edges into the lists of their targets, which stay sorted by source.
void GraphStorage::index_incoming(std::vector<EdgeItem>& items) {
    for (std::size_t i = 0, end = 0; i < items.size(); i = end) {
        end = group_end(items, i);
        Span& in = nodes_[high_of(items[i].key)].in;
        Span to = in;
        to.size += static_cast<std::uint32_t>(end - i);
        if (to.size > in.capacity) {
            to.capacity = grown(in, to.size);
            to.begin = in_blocks_.take(to.capacity);
        }
        // From the back, so that it also works in place.
        const Incoming* old = incoming_.data() + in.begin;
        Incoming* merged = incoming_.data() + to.begin;
        std::size_t left = in.size, more = end;
        for (std::size_t k = to.size; k-- > 0;) {
            if (more == i && old == merged) break;
            if (more > i && (left == 0 || old[left - 1].src <= low_of(items[more - 1].key))) {
                --more;
                merged[k] = {low_of(items[more].key), items[more].position};
            } else {
                merged[k] = old[--left];
            }
        }
        if (to.begin != in.begin) in_blocks_.give_back(in.begin, in.capacity);
        in = to;
    }
}

void GraphStorage::erase(std::vector<Incoming>& edges, std::vector<std::uint64_t> gone) {
    gone.clear();  // then dst << 32 | slot
    gone.reserve(edges.size());
    for (const Incoming& edge : edges) gone.push_back(pair_of(columns_.dst[edge.slot], edge.slot));
    std::sort(gone.begin(), gone.end());
    for (std::size_t i = 0, end = 0; i < gone.size(); i = end) {
        while (end < gone.size() && high_of(gone[end]) == high_of(gone[i])) ++end;
        const std::uint32_t dst = high_of(gone[i]);
        Span& in = nodes_[dst].in;
        Incoming* const begin = incoming_.data() + in.begin;
        const auto is_gone = [&](const Incoming& e) {
            return std::binary_search(gone.data() + i, gone.data() + end, pair_of(dst, e.slot));
        };
        in.size = static_cast<std::uint32_t>(std::remove_if(begin, begin + in.size, is_gone) - begin);
    }
    // The last edge of a block fills the gap. Highest slot first, so that it is never one that has yet to go.
    std::sort(edges.begin(), edges.end(), [](const Incoming& a, const Incoming& b) { return a.slot > b.slot; });
    for (const Incoming& edge : edges) {
        Span& out = nodes_[edge.src].out;
        const std::uint32_t last = out.begin + --out.size;
        if (edge.slot != last) {
            move_edge(edge.src, last, edge.slot);
        } else {
            columns_.clear(last);
        }
    }
    num_edges_ -= edges.size();
}

std::size_t GraphStorage::bytes() const {
    return nodes_.bytes() + table_.bytes() + columns_.bytes() + incoming_.bytes() + free_rows_.capacity() * 4;
}

}  // namespace ruvllm::engines
