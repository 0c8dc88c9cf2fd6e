// What reads a neighbourhood: the edges of a node, and the subgraph around some seeds.
#include <algorithm>
#include <numeric>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "engines/graph.hpp"
#include "engines/graph_local.hpp"

namespace ruvllm::engines {
namespace {

// One edge seen from one end.
struct Candidate {
    float weight;
    std::uint32_t row, slot;  // of the neighbour, of the edge
    Direction direction;
};

// The order in which edges are followed: total, so that it does not depend on where anything lies in memory.
class IsHeavier {
  public:
    explicit IsHeavier(const GraphStorage& storage) : storage_(storage) {}

    bool operator()(const Candidate& a, const Candidate& b) const {
        if (a.weight != b.weight) return a.weight > b.weight;
        const std::int64_t a_id = storage_.node(a.row).id, b_id = storage_.node(b.row).id;
        if (a_id != b_id) return a_id < b_id;
        if (a.direction != b.direction) return a.direction < b.direction;
        return storage_.columns().type[a.slot] < storage_.columns().type[b.slot];
    }

  private:
    const GraphStorage& storage_;
};

// Calls found(candidate) for every edge of a node that passes the filter.
template <typename Found>
void for_each_edge_of(const GraphStorage& storage, std::uint32_t row, const EdgeTypes& types, float min_weight,
                      Direction direction, const Found& found) {
    constexpr std::uint32_t kAhead = 16;
    const EdgeColumns& c = storage.columns();
    const NodeRow& node = storage.node(row);
    const bool has_all_types = types.all();
    const auto offer = [&](std::uint32_t neighbour, std::uint32_t slot, Direction seen) {
        if (c.weight[slot] < min_weight || !(has_all_types || types[c.type[slot]])) return;
        found(Candidate{c.weight[slot], neighbour, slot, seen});
    };
    if (direction != Direction::in) {
        for (std::uint32_t slot = node.out.begin; slot < node.out.begin + node.out.size; ++slot) {
            offer(c.dst[slot], slot, Direction::out);
        }
    }
    if (direction != Direction::out) {
        const Incoming* in = storage.incoming() + node.in.begin;
        for (std::uint32_t i = 0; i < node.in.size; ++i) {
            if (i + kAhead < node.in.size) __builtin_prefetch(&c.weight[in[i + kAhead].slot]);
            offer(in[i].src, in[i].slot, Direction::in);
        }
    }
}

// The fan_out heaviest edges of a node, heaviest first, in one pass over its edges; a heap with the lightest on top.
void heaviest(const GraphStorage& storage, std::uint32_t row, const ExpansionLimits& limits,
              std::vector<Candidate>& best) {
    const IsHeavier is_heavier(storage);
    best.clear();
    for_each_edge_of(storage, row, limits.types, limits.min_weight, limits.direction, [&](const Candidate& candidate) {
        if (best.size() < limits.fan_out) {
            best.push_back(candidate);
            if (best.size() == limits.fan_out) std::make_heap(best.begin(), best.end(), is_heavier);
        } else if (is_heavier(candidate, best.front())) {
            std::pop_heap(best.begin(), best.end(), is_heavier);
            best.back() = candidate;
            std::push_heap(best.begin(), best.end(), is_heavier);
        }
    });
    std::sort(best.begin(), best.end(), is_heavier);
}

// Ask for the memory that following the edges of a node will read.
void prefetch_edges(const GraphStorage& storage, std::uint32_t row) {
    const NodeRow& node = storage.node(row);
    __builtin_prefetch(storage.columns().dst.data() + node.out.begin);
    __builtin_prefetch(storage.columns().weight.data() + node.out.begin);
    __builtin_prefetch(storage.incoming() + node.in.begin);
    if (node.in.size > 8) __builtin_prefetch(storage.incoming() + node.in.begin + 8);  // a line holds 8
}

void prefetch_incoming(const GraphStorage& storage, std::uint32_t row) {
    const Span in = storage.node(row).in;
    for (std::uint32_t i = in.begin; i < in.begin + std::min(in.size, 16u); ++i) {
        __builtin_prefetch(&storage.columns().weight[storage.incoming()[i].slot]);
    }
}

// What the heaviest edges of a node lead to, heaviest first; a hub's are read once.
class Followed {
  public:
    Followed(const GraphStorage& storage, const ExpansionLimits& limits, Hubs& hubs)
        : storage_(storage), limits_(limits), hubs_(hubs),
          sees_all_(limits.types.all() && limits.min_weight == 0.0f && limits.direction == Direction::both) {}

    const std::vector<std::uint32_t>& from(std::uint32_t row) {
        const bool is_kept = sees_all_ && Hubs::is_hub(storage_.node(row));
        if (is_kept && hubs_.find(row, limits_.fan_out, neighbours_)) return neighbours_;
        heaviest(storage_, row, limits_, best_);
        neighbours_.clear();
        for (const Candidate& candidate : best_) neighbours_.push_back(candidate.row);
        if (is_kept) hubs_.keep(row, limits_.fan_out, neighbours_);
        return neighbours_;
    }

  private:
    const GraphStorage& storage_;
    const ExpansionLimits& limits_;
    Hubs& hubs_;
    bool sees_all_;
    std::vector<Candidate> best_;
    std::vector<std::uint32_t> neighbours_;
};

LocalNodes discover(const GraphStorage& storage, const std::vector<std::uint32_t>& seeds, const ExpansionLimits& limits,
                    Hubs& hubs, std::vector<std::int32_t>& hops) {
    LocalNodes nodes;
    const auto add = [&](std::uint32_t row, std::int32_t hop) {
        if (nodes.rows().size() >= limits.max_nodes || !nodes.add(row)) return;
        __builtin_prefetch(&storage.node(row));  // whatever comes next reads it
        hops.push_back(hop);
    };
    for (const std::uint32_t row : seeds) {
        if (row != kNone) add(row, 0);
    }
    Followed followed(storage, limits, hubs);
    const auto is_expanded = [&](std::size_t i) {
        return i < nodes.rows().size() && static_cast<std::size_t>(hops[i]) < limits.hops;
    };
    constexpr std::size_t kEdgesAhead = 4, kIncomingAhead = 2;
    for (std::size_t i = 0; i < kEdgesAhead && is_expanded(i); ++i) prefetch_edges(storage, nodes.rows()[i]);
    for (std::size_t i = 0; is_expanded(i) && nodes.rows().size() < limits.max_nodes; ++i) {
        if (is_expanded(i + kEdgesAhead)) prefetch_edges(storage, nodes.rows()[i + kEdgesAhead]);
        if (is_expanded(i + kIncomingAhead)) prefetch_incoming(storage, nodes.rows()[i + kIncomingAhead]);
        const std::int32_t hop = hops[i] + 1;
        for (const std::uint32_t row : followed.from(nodes.rows()[i])) add(row, hop);
    }
    return nodes;
}

std::vector<std::int64_t> ids_of(const GraphStorage& storage, const LocalNodes& nodes) {
    std::vector<std::int64_t> ids;
    ids.reserve(nodes.rows().size());
    for (const std::uint32_t row : nodes.rows()) ids.push_back(storage.node(row).id);
    return ids;
}

struct Entry {
    std::uint32_t column, slot;
    std::uint8_t type;
    Direction direction;
};

bool is_before(const Entry& a, const Entry& b) {
    if (a.column != b.column) return a.column < b.column;
    if (a.direction != b.direction) return a.direction < b.direction;
    return a.type < b.type;
}

struct FoundEdge {
    std::uint32_t src, dst, slot;
};

// The rows of the subgraph: each edge among its nodes once (out or in) or from both ends.
void induce(const GraphStorage& storage, const LocalNodes& nodes, const ExpansionLimits& limits, Subgraph& subgraph) {
    const EdgeColumns& c = storage.columns();
    std::vector<FoundEdge> edges;
    for_each_edge_among(storage, nodes, [&](std::uint32_t src, std::uint32_t dst, std::uint32_t slot) {
        __builtin_prefetch(&c.weight[slot]);
        __builtin_prefetch(&c.type[slot]);
        __builtin_prefetch(&c.last_used[slot]);
        __builtin_prefetch(&c.counts[slot]);
        edges.push_back({src, dst, slot});
    });
    std::erase_if(edges, [&](const FoundEdge& edge) {
        return c.weight[edge.slot] < limits.min_weight || !limits.types[c.type[edge.slot]];
    });
    const bool has_out = limits.direction != Direction::in, has_in = limits.direction != Direction::out;
    const std::size_t n = nodes.rows().size();
    subgraph.indptr.assign(n + 1, 0);
    for (const FoundEdge& edge : edges) {
        subgraph.indptr[edge.src + 1] += has_out;
        subgraph.indptr[edge.dst + 1] += has_in;
    }
    for (std::size_t i = 0; i < n; ++i) subgraph.indptr[i + 1] += subgraph.indptr[i];
    std::vector<Entry> entries(static_cast<std::size_t>(subgraph.indptr[n]));
    std::vector<std::int64_t> next(subgraph.indptr.begin(), subgraph.indptr.end() - 1);
    for (const FoundEdge& edge : edges) {
        const std::uint8_t type = c.type[edge.slot];
        if (has_out) entries[static_cast<std::size_t>(next[edge.src]++)] = {edge.dst, edge.slot, type, Direction::out};
        if (has_in) entries[static_cast<std::size_t>(next[edge.dst]++)] = {edge.src, edge.slot, type, Direction::in};
    }
    for (std::size_t i = 0; i < n; ++i) {
        std::sort(entries.begin() + subgraph.indptr[i], entries.begin() + subgraph.indptr[i + 1], is_before);
    }
    subgraph.reserve(entries.size());
    subgraph.indices.reserve(entries.size());
    for (const Entry& entry : entries) {
        subgraph.indices.push_back(static_cast<std::int32_t>(entry.column));
        subgraph.push(c, entry.slot, entry.direction);
    }
}

}  // namespace

void AdjacencyColumns::reserve(std::size_t count) {
    types.reserve(count);
    weights.reserve(count);
    last_used.reserve(count);
    successes.reserve(count);
    failures.reserve(count);
    directions.reserve(count);
}

void AdjacencyColumns::push(const EdgeColumns& columns, std::uint32_t slot, Direction direction) {
    types.push_back(columns.type[slot]);
    weights.push_back(columns.weight[slot]);
    last_used.push_back(columns.last_used[slot]);
    successes.push_back(columns.counts[slot].successes);
    failures.push_back(columns.counts[slot].failures);
    directions.push_back(static_cast<std::uint8_t>(direction));
}

Neighbours Graph::neighbours(std::int64_t id, const EdgeTypes& types, Direction direction,
                             std::optional<double> now) const {
    const std::shared_lock reading(lock_);
    const std::uint32_t row = storage_.find_row(id);
    if (row == kNone) throw std::invalid_argument("id must be a known node (" + std::to_string(id) + ")");
    std::vector<Candidate> edges;
    for_each_edge_of(storage_, row, types, 0.0f, direction, [&](const Candidate& edge) { edges.push_back(edge); });
    std::sort(edges.begin(), edges.end(), IsHeavier(storage_));
    Neighbours neighbours;
    neighbours.reserve(edges.size());
    neighbours.ids.reserve(edges.size());
    for (const Candidate& edge : edges) {
        neighbours.ids.push_back(storage_.node(edge.row).id);
        neighbours.push(storage_.columns(), edge.slot, edge.direction);
    }
    fade(neighbours, now);
    return neighbours;
}

Subgraph Graph::expand(const std::int64_t* seeds, std::size_t n, const ExpansionLimits& limits,
                       std::optional<double> now) const {
    std::vector<std::uint32_t> seed_rows(n);
    Subgraph subgraph;
    const std::shared_lock reading(lock_);
    storage_.find_rows(seeds, n, seed_rows.data());
    const LocalNodes nodes = discover(storage_, seed_rows, limits, hubs_, subgraph.hops);
    subgraph.ids = ids_of(storage_, nodes);
    induce(storage_, nodes, limits, subgraph);
    fade(subgraph, now);
    return subgraph;
}

Reached Graph::reach(const std::int64_t* seeds, std::size_t n, const ExpansionLimits& limits) const {
    std::vector<std::uint32_t> seed_rows(n);
    Reached reached;
    const std::shared_lock reading(lock_);
    storage_.find_rows(seeds, n, seed_rows.data());
    reached.ids = ids_of(storage_, discover(storage_, seed_rows, limits, hubs_, reached.hops));
    return reached;
}

Subgraph Graph::among(const std::int64_t* ids, std::size_t n, std::optional<double> now) const {
    const ExpansionLimits all{0, n, 0, EdgeTypes().set(), 0.0f, Direction::both};
    std::vector<std::uint32_t> rows(n);
    LocalNodes nodes;
    std::vector<std::int32_t> places;  // of `nodes` in `ids`
    Subgraph subgraph;
    subgraph.ids.assign(ids, ids + n);
    subgraph.hops.assign(n, 0);
    const std::shared_lock reading(lock_);
    storage_.find_rows(ids, n, rows.data());
    for (std::size_t i = 0; i < n; ++i) {
        if (rows[i] == kNone) continue;
        if (!nodes.add(rows[i])) {
            throw std::invalid_argument("ids must differ (ids[" + std::to_string(i) +
                                        "] = " + std::to_string(ids[i]) + ")");
        }
        places.push_back(static_cast<std::int32_t>(i));
    }
    induce(storage_, nodes, all, subgraph);
    for (std::int32_t& column : subgraph.indices) column = places[static_cast<std::size_t>(column)];
    std::vector<std::int64_t> indptr(n + 1);
    for (std::size_t k = 0; k < places.size(); ++k) {
        indptr[static_cast<std::size_t>(places[k]) + 1] = subgraph.indptr[k + 1] - subgraph.indptr[k];
    }
    std::partial_sum(indptr.begin(), indptr.end(), indptr.begin());
    subgraph.indptr = std::move(indptr);
    fade(subgraph, now);
    return subgraph;
}

}  // namespace ruvllm::engines
