// What changes the graph: everything is looked up and refused first, then changed under the exclusive lock.
#include "engines/graph.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "engines/graph_local.hpp"
#include "kernels/edge_decay.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::uint16_t kMaxCount = std::numeric_limits<std::uint16_t>::max();

std::invalid_argument unknown(const char* name, std::size_t i, std::int64_t id) {
    return std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "] must be a known node (" +
                                 std::to_string(id) + ")");
}

bool is_before(const EdgeItem& a, const EdgeItem& b) {
    return a.key != b.key ? a.key < b.key : a.type != b.type ? a.type < b.type : a.position < b.position;
}

bool is_same_edge(const EdgeItem& a, const EdgeItem& b) { return a.key == b.key && a.type == b.type; }

}  // namespace

Graph::Graph(double epoch, std::size_t num_types, double decayed_at)
    : epoch_(epoch),
      decayed_at_(decayed_at),
      num_types_(num_types),
      half_life_s_(num_types, std::numeric_limits<float>::infinity()) {}

void Graph::set_half_lives(const float* half_life_s) {
    const std::lock_guard turn(writer_);
    const std::unique_lock writing(lock_);
    std::copy_n(half_life_s, num_types_, half_life_s_.begin());
}

std::vector<float> Graph::half_lives() const {
    const std::shared_lock reading(lock_);
    return half_life_s_;
}

kernels::EdgeDecay Graph::decay_until(double now) const {
    return {since_epoch(now), since_epoch(decayed_at_), half_life_s_.data(), num_types_};
}

void Graph::fade(AdjacencyColumns& edges, std::optional<double> now) const {
    if (!now.has_value()) return;
    kernels::edge_decay(edges.weights.data(), edges.last_used.data(), edges.types.data(), edges.types.size(),
                        decay_until(*now));
}

double Graph::decayed_at() const {
    const std::shared_lock reading(lock_);
    return decayed_at_;
}

std::size_t Graph::num_nodes() const {
    const std::shared_lock reading(lock_);
    return storage_.num_nodes();
}

std::size_t Graph::num_edges() const {
    const std::shared_lock reading(lock_);
    return storage_.num_edges();
}

std::size_t Graph::bytes() const {
    const std::shared_lock reading(lock_);
    return sizeof(*this) + storage_.bytes() + hubs_.bytes();
}

std::vector<std::uint32_t> Graph::rows_of(const std::int64_t* ids, std::size_t n, const char* name) const {
    std::vector<std::uint32_t> rows(n);
    storage_.find_rows(ids, n, rows.data());
    for (std::size_t i = 0; i < n; ++i) {
        if (rows[i] == kNone) throw unknown(name, i, ids[i]);
    }
    return rows;
}

std::vector<Incoming> Graph::slots_of(const EdgeBatch& batch) const {
    const std::vector<std::uint32_t> src = rows_of(batch.src, batch.n, "src"), dst = rows_of(batch.dst, batch.n, "dst");
    std::vector<Incoming> slots(batch.n);
    for (std::size_t i = 0; i < batch.n; ++i) {
        slots[i] = {src[i], storage_.find_slot(src[i], dst[i], batch.type[i])};
        if (slots[i].slot == kNone) {
            throw std::invalid_argument("src[" + std::to_string(i) + "], dst, types must name a known edge (" +
                                        std::to_string(batch.src[i]) + ", " + std::to_string(batch.dst[i]) + ", " +
                                        std::to_string(batch.type[i]) + ")");
        }
    }
    return slots;
}

void Graph::forget_hub_edges(const std::vector<Incoming>& edges) {
    for (const Incoming& edge : edges) {
        hubs_.forget(edge.src);
        hubs_.forget(storage_.columns().dst[edge.slot]);
    }
}

std::size_t Graph::add_nodes(const std::int64_t* ids, std::size_t n) {
    const std::lock_guard turn(writer_);
    const std::unique_lock writing(lock_);
    const std::size_t before = storage_.num_nodes();
    storage_.reserve_rows(n);
    for (std::size_t i = 0; i < n; ++i) {
        if (storage_.find_row(ids[i]) == kNone) storage_.add_row(ids[i]);
    }
    return storage_.num_nodes() - before;
}

void Graph::remove_nodes(const std::int64_t* ids, std::size_t n) {
    const std::lock_guard turn(writer_);
    std::vector<std::uint32_t> rows = rows_of(ids, n, "ids");
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    std::vector<Incoming> edges;
    for (const std::uint32_t row : rows) {
        const NodeRow& node = storage_.node(row);
        for (std::uint32_t slot = node.out.begin; slot < node.out.begin + node.out.size; ++slot) {
            edges.push_back({row, slot});
        }
        const Incoming* in = storage_.incoming() + node.in.begin;
        for (std::uint32_t i = 0; i < node.in.size; ++i) {
            // An edge between two nodes that both go is already among the first one's.
            if (!std::binary_search(rows.begin(), rows.end(), in[i].src)) edges.push_back(in[i]);
        }
    }
    const std::unique_lock writing(lock_);
    storage_.reserve_removals(rows.size());
    forget_hub_edges(edges);
    for (const std::uint32_t row : rows) hubs_.forget(row);
    storage_.erase(edges);
    for (const std::uint32_t row : rows) storage_.remove_row(row);
}

void Graph::has_nodes(const std::int64_t* ids, std::size_t n, bool* known) const {
    const std::shared_lock reading(lock_);
    for (std::size_t i = 0; i < n; ++i) known[i] = storage_.find_row(ids[i]) != kNone;
}

void Graph::degrees(const std::int64_t* ids, std::size_t n, std::int64_t* out) const {
    const std::shared_lock reading(lock_);
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint32_t row = storage_.find_row(ids[i]);
        out[2 * i] = row == kNone ? 0 : storage_.node(row).out.size;
        out[2 * i + 1] = row == kNone ? 0 : storage_.node(row).in.size;
    }
}

std::vector<std::int64_t> Graph::node_ids() const {
    const std::shared_lock reading(lock_);
    std::vector<std::int64_t> ids;
    ids.reserve(storage_.num_nodes());
    for (std::uint32_t row = 0; row < storage_.end_row(); ++row) {
        if (storage_.is_live(row)) ids.push_back(storage_.node(row).id);
    }
    return ids;
}

std::size_t Graph::add_edges(const EdgeBatch& batch) {
    const std::lock_guard turn(writer_);
    std::vector<EdgeItem> items(batch.n);
    {
        const std::vector<std::uint32_t> src = rows_of(batch.src, batch.n, "src");
        const std::vector<std::uint32_t> dst = rows_of(batch.dst, batch.n, "dst");
        for (std::size_t i = 0; i < batch.n; ++i) {
            items[i] = {std::uint64_t{src[i]} << 32 | dst[i], static_cast<std::uint32_t>(i), batch.type[i]};
        }
    }
    // Each edge once, with the values named last; those that are known apart.
    std::sort(items.begin(), items.end(), is_before);
    std::vector<EdgeItem> known;
    std::size_t num_new = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i + 1 < items.size() && is_same_edge(items[i], items[i + 1])) continue;
        const auto src = static_cast<std::uint32_t>(items[i].key >> 32), dst = static_cast<std::uint32_t>(items[i].key);
        const std::uint32_t slot = storage_.find_slot(src, dst, items[i].type);
        if (slot == kNone) {
            items[num_new++] = items[i];
        } else {
            known.push_back(items[i]);
        }
    }
    items.resize(num_new);
    const std::unique_lock writing(lock_);
    for (const std::vector<EdgeItem>* changed : {&items, &known}) {
        for (const EdgeItem& item : *changed) {
            hubs_.forget(static_cast<std::uint32_t>(item.key >> 32));
            hubs_.forget(static_cast<std::uint32_t>(item.key));
        }
    }
    storage_.insert(items, batch);
    for (const EdgeItem& item : known) {
        const auto src = static_cast<std::uint32_t>(item.key >> 32), dst = static_cast<std::uint32_t>(item.key);
        storage_.write(storage_.find_slot(src, dst, item.type), batch, item.position);
    }
    return num_new;
}

void Graph::update_edges(const EdgeBatch& batch) {
    const std::lock_guard turn(writer_);
    const std::vector<Incoming> slots = slots_of(batch);
    const std::unique_lock writing(lock_);
    forget_hub_edges(slots);
    for (std::size_t i = 0; i < batch.n; ++i) storage_.write(slots[i].slot, batch, i);
}

void Graph::remove_edges(const EdgeBatch& batch) {
    const std::lock_guard turn(writer_);
    std::vector<Incoming> slots = slots_of(batch);
    std::sort(slots.begin(), slots.end(), [](const Incoming& a, const Incoming& b) { return a.slot < b.slot; });
    const auto is_same = [](const Incoming& a, const Incoming& b) { return a.slot == b.slot; };
    slots.erase(std::unique(slots.begin(), slots.end(), is_same), slots.end());
    const std::unique_lock writing(lock_);
    forget_hub_edges(slots);
    storage_.erase(slots);
}

std::optional<EdgeValues> Graph::edge(std::int64_t src, std::int64_t dst, std::uint8_t type,
                                      std::optional<double> now) const {
    const std::shared_lock reading(lock_);
    const std::uint32_t src_row = storage_.find_row(src), dst_row = storage_.find_row(dst);
    if (src_row == kNone || dst_row == kNone) return std::nullopt;
    const std::uint32_t slot = storage_.find_slot(src_row, dst_row, type);
    if (slot == kNone) return std::nullopt;
    const EdgeColumns& c = storage_.columns();
    EdgeValues values{c.weight[slot], c.last_used[slot], c.counts[slot].successes, c.counts[slot].failures};
    if (now.has_value()) kernels::edge_decay(&values.weight, &values.last_used, &type, 1, decay_until(*now));
    return values;
}

std::size_t Graph::reinforce(const std::int64_t* ids, std::size_t n, const Outcome& outcome) {
    const std::lock_guard turn(writer_);
    LocalNodes nodes;
    for (const std::uint32_t row : rows_of(ids, n, "nodes")) nodes.add(row);
    const bool is_good = outcome.quality >= 0.5;
    if (outcome.success.has_value() && *outcome.success != is_good) return 0;
    const auto a = static_cast<float>(2.0 * outcome.eta * std::fabs(outcome.quality - 0.5) * outcome.credit);
    EdgeColumns& c = storage_.columns();
    std::vector<std::uint32_t> slots;
    for_each_edge_among(storage_, nodes, [&](std::uint32_t, std::uint32_t, std::uint32_t slot) { slots.push_back(slot); });
    AdjacencyColumns edges;
    edges.reserve(slots.size());
    for (const std::uint32_t slot : slots) edges.push(c, slot, Direction::out);
    fade(edges, outcome.now);

    const std::unique_lock writing(lock_);
    for (const std::uint32_t row : nodes.rows()) hubs_.forget(row);
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const std::uint32_t slot = slots[i];
        const float w = edges.weights[i];
        c.weight[slot] = is_good ? std::min(w + a * (1.0f - w), 1.0f) : w - a * w;
        c.last_used[slot] = since_epoch(outcome.now);
        std::uint16_t& count = is_good ? c.counts[slot].successes : c.counts[slot].failures;
        if (count < kMaxCount) ++count;
    }
    return slots.size();
}

std::size_t Graph::decay(double now, float floor, std::uint32_t min_interactions) {
    const std::lock_guard turn(writer_);
    std::vector<std::uint8_t> is_prunable(storage_.end_slot());
    // Memory for as many edges as may go, so that nothing fails once weights have changed.
    const std::size_t most = floor > 0.0f ? storage_.num_edges() : 0;
    std::vector<Incoming> edges;
    std::vector<std::uint64_t> scratch;
    edges.reserve(most);
    scratch.reserve(most);
    const std::unique_lock writing(lock_);
    hubs_.forget_all();
    EdgeColumns& c = storage_.columns();
    const std::size_t count =
        kernels::edge_decay_and_mark(c.weight.data(), c.last_used.data(), c.type.data(), c.counts.data(),
                                     storage_.end_slot(), decay_until(now), floor, min_interactions, is_prunable.data());
    decayed_at_ = std::max(decayed_at_, now);
    for (std::uint32_t row = 0; count > 0 && row < storage_.end_row(); ++row) {
        const Span& out = storage_.node(row).out;
        for (std::uint32_t i = 0; i < out.size; ++i) {
            if (is_prunable[out.begin + i]) edges.push_back({row, out.begin + i});
        }
    }
    storage_.erase(edges, std::move(scratch));
    return count;
}

}  // namespace ruvllm::engines
