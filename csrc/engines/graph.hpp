// A typed, weighted, directed multigraph in memory: many readers, one writer.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "engines/graph_hubs.hpp"
#include "engines/graph_storage.hpp"
#include "engines/readers_writer_lock.hpp"

namespace ruvllm::engines {

enum class Direction : std::uint8_t { out, in, both };  // which ends of an edge are followed
using EdgeTypes = std::bitset<256>;

struct EdgeValues {
    float weight, last_used;
    std::uint16_t successes, failures;
};

// Columns of adjacency entries: each is one edge seen from one of its ends.
struct AdjacencyColumns {
    std::vector<std::uint8_t> types;
    std::vector<float> weights, last_used;
    std::vector<std::uint16_t> successes, failures;
    std::vector<std::uint8_t> directions;  // 0: the edge leaves this end (Direction::out), 1: it arrives (Direction::in)

    void reserve(std::size_t count);
    void push(const EdgeColumns& columns, std::uint32_t slot, Direction direction);
};

struct Neighbours : AdjacencyColumns {
    std::vector<std::int64_t> ids;
};

// Nodes in the order of their discovery, and the edges among them as compressed sparse rows.
struct Subgraph : AdjacencyColumns {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> hops;
    std::vector<std::int64_t> indptr;
    std::vector<std::int32_t> indices;
};

// Nodes in the order of their discovery.
struct Reached {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> hops;
};

struct ExpansionLimits {
    std::size_t hops, max_nodes, fan_out;
    EdgeTypes types;
    float min_weight;
    Direction direction;
};

// What became of an answer, as design section 3 judges it.
struct Outcome {
    double quality;               // in [0, 1]
    std::optional<bool> success;  // of the task, when known
    double credit;                // in [0, 1], the part these nodes had in it
    double eta;                   // in [0, 1], learning rate
    double now;                   // unix seconds
};

// Times further from the epoch than this (3e10 years) are refused, so that no difference of two overflows.
inline constexpr double kMaxSeconds = 1e18;

// Weights fade: each is stored as it was at the edge's last use or at the last decay, whichever is later, and has lost a
// half of itself with every half-life of its type since. Whoever asks with a time gets what is left at that time; who
// asks without one gets what is stored.
//
// Methods may be called from any thread. Reading never waits for reading; a writer waits for the readers inside, and
// readers wait for it (readers_writer_lock.hpp). What a method cannot do it refuses with std::invalid_argument, naming
// the argument, before anything has changed; so it does with std::bad_alloc and std::length_error.
//
// Memory: 25 bytes an edge and 41 a node after a bulk load (17 in the edge columns, 8 in the list of the target; 32 for
// a node, 8.4 in the table at a million). Edges added one by one leave slack of up to 3/5 more before arrays are packed.
class Graph {
  public:
    Graph(double epoch, std::size_t num_types, double decayed_at);  // nothing fades

    double epoch() const { return epoch_; }  // unix seconds
    std::size_t num_types() const { return num_types_; }
    double decayed_at() const;  // unix seconds; minus infinity before the first decay
    std::size_t num_nodes() const;
    std::size_t num_edges() const;
    std::size_t bytes() const;

    // Half-lives in seconds, (num_types,), > 0 and not subnormal; infinity: never fades. Not part of a snapshot.
    void set_half_lives(const float* half_life_s);
    std::vector<float> half_lives() const;

    // Nodes. Known ids are passed over by add_nodes, which returns how many were new.
    std::size_t add_nodes(const std::int64_t* ids, std::size_t n);
    void remove_nodes(const std::int64_t* ids, std::size_t n);  // with their edges; unknown ids are refused
    void has_nodes(const std::int64_t* ids, std::size_t n, bool* known) const;
    void degrees(const std::int64_t* ids, std::size_t n, std::int64_t* out) const;  // (n, 2) edges out, in; 0 if unknown
    std::vector<std::int64_t> node_ids() const;  // in the order of rows

    // Edges, keyed by (src, dst, type). Unknown nodes are refused. Preconditions: src != dst, type < num_types, values in
    // range. An edge named twice takes the later values.
    std::size_t add_edges(const EdgeBatch& batch);    // returns how many were new; the others take the given columns
    void update_edges(const EdgeBatch& batch);        // unknown edges are refused
    void remove_edges(const EdgeBatch& batch);        // unknown edges are refused
    std::optional<EdgeValues> edge(std::int64_t src, std::int64_t dst, std::uint8_t type,
                                   std::optional<double> now = std::nullopt) const;
    Neighbours neighbours(std::int64_t id, const EdgeTypes& types, Direction direction,
                          std::optional<double> now = std::nullopt) const;  // the heaviest stored weight first

    // Breadth-first from `seeds` (unknown ids are passed over). From each node that is not at the last hop the fan_out
    // heaviest edges are followed; of equal weights the lower neighbour id, then the outgoing edge, then the lower type
    // goes first. Edges of other types or below min_weight do not exist for it. What is heavy goes by stored weights.
    Subgraph expand(const std::int64_t* seeds, std::size_t n, const ExpansionLimits& limits,
                    std::optional<double> now = std::nullopt) const;

    Reached reach(const std::int64_t* seeds, std::size_t n, const ExpansionLimits& limits) const;  // without the edges

    // All edges among some nodes, in the order given; an unknown id is a node without edges, hops are 0. An id that is
    // given twice is refused.
    Subgraph among(const std::int64_t* ids, std::size_t n, std::optional<double> now = std::nullopt) const;

    // Brings the weight w of every edge among a set of nodes to `now` and moves it: w += a (1 - w) after a good outcome (quality >= 1/2 and
    // success not false), w -= a w after a bad one (quality < 1/2 and success not true), a = 2 eta |quality - 1/2|
    // credit; counts the success or failure and sets last_used. Any other outcome moves nothing. Returns the number of
    // edges moved. Unknown nodes are refused.
    std::size_t reinforce(const std::int64_t* ids, std::size_t n, const Outcome& outcome);

    // Makes the decay since the last use or the last decay permanent and removes edges that are below `floor` after at
    // least `min_interactions` successes and failures. Returns how many.
    std::size_t decay(double now, float floor, std::uint32_t min_interactions);

    std::string snapshot() const;
    static std::unique_ptr<Graph> restore(std::string_view snapshot);  // refuses what is damaged

    // Seconds since the epoch as the columns keep them.
    float since_epoch(double unix_s) const { return static_cast<float>(unix_s - epoch_); }

  private:
    std::vector<std::uint32_t> rows_of(const std::int64_t* ids, std::size_t n, const char* name) const;
    std::vector<Incoming> slots_of(const EdgeBatch& batch) const;
    kernels::EdgeDecay decay_until(double now) const;
    void forget_hub_edges(const std::vector<Incoming>& edges);  // both ends: their heaviest edges may be others now
    void fade(AdjacencyColumns& edges, std::optional<double> now) const;  // stored weights, brought to `now`

    double epoch_, decayed_at_;
    std::size_t num_types_;
    std::vector<float> half_life_s_;  // by type
    GraphStorage storage_;
    mutable Hubs hubs_;
    std::mutex writer_;                // one writer at a time: it may read without the lock
    mutable ReadersWriterLock lock_;  // taken shared to read, exclusively while something changes
};

}  // namespace ruvllm::engines
