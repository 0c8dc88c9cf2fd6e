// Readers beside one writer, for the thread sanitizer: whatever a reader sees is whole. Returns 1 when anything failed.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "engines/graph.hpp"

using namespace ruvllm;

namespace {

constexpr std::int64_t kNodes = 300, kLasting = 100;  // ids below kLasting are never removed
constexpr std::size_t kTypes = 3, kReaders = 3, kRounds = 400;

std::atomic<int> failures{0};

void expect(bool statement, const char* what) {
    if (!statement && failures.fetch_add(1) < 20) std::printf("FAILED %s\n", what);
}

template <typename Values, typename IsGood>
bool all_of(const Values& values, const IsGood& is_good) {
    return std::all_of(values.begin(), values.end(), is_good);
}

void expect_whole(const engines::AdjacencyColumns& edges, std::size_t size) {
    expect(edges.types.size() == size && edges.weights.size() == size && edges.last_used.size() == size &&
               edges.successes.size() == size && edges.failures.size() == size && edges.directions.size() == size,
           "columns of one length");
    expect(all_of(edges.weights, [](float w) { return w >= 0.0f && w <= 1.0f; }), "weights in [0, 1]");
    expect(all_of(edges.types, [](std::uint8_t type) { return type < kTypes; }), "known types");
}

void expect_whole(const engines::Subgraph& s) {
    const std::size_t n = s.ids.size();
    expect(s.hops.size() == n && s.indptr.size() == n + 1 && s.indptr[0] == 0, "rows");
    expect(std::is_sorted(s.hops.begin(), s.hops.end()), "hops ascend");
    expect(std::is_sorted(s.indptr.begin(), s.indptr.end()), "indptr ascends");
    expect(static_cast<std::size_t>(s.indptr[n]) == s.indices.size(), "indptr ends with the number of entries");
    expect(all_of(s.indices, [n](std::int32_t i) { return i >= 0 && static_cast<std::size_t>(i) < n; }), "indices");
    expect(all_of(s.ids, [](std::int64_t id) { return id >= 0 && id < kNodes; }), "ids");
    expect(2 * std::count(s.directions.begin(), s.directions.end(), 0) == std::ssize(s.indices), "both ends of an edge");
    expect_whole(s, s.indices.size());
}

engines::EdgeTypes all_types() { return engines::EdgeTypes().set(); }

void read(const engines::Graph& graph, const std::atomic<bool>& is_done, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_int_distribution<std::int64_t> any(0, kNodes - 1), lasting(0, kLasting - 1);
    while (!is_done.load()) {
        const std::int64_t seeds[] = {any(engine), any(engine), lasting(engine)};
        expect_whole(graph.expand(seeds, 3, {2, 64, 8, all_types(), 0.0f, engines::Direction::both}, kRounds));
        const engines::Neighbours found = graph.neighbours(lasting(engine), all_types(), engines::Direction::both);
        expect(std::is_sorted(found.weights.rbegin(), found.weights.rend()), "heaviest first");
        expect_whole(found, found.ids.size());
        if (const auto edge = graph.edge(any(engine), any(engine), 0)) {
            expect(edge->weight >= 0.0f && edge->weight <= 1.0f, "a weight in [0, 1]");
        }
        bool known[3];
        graph.has_nodes(seeds, 3, known);
        expect(known[2], "a lasting node is known");
        if (engine() % 16 == 0) {
            const std::string bytes = graph.snapshot();
            expect(engines::Graph::restore(bytes)->snapshot() == bytes, "a snapshot of one moment");
        }
    }
}

void add_some_edges(engines::Graph& graph, std::mt19937& engine, std::size_t count) {
    std::vector<std::int64_t> src, dst;
    std::vector<std::uint8_t> types;
    std::vector<float> weights;
    const std::vector<std::int64_t> ids = graph.node_ids();
    for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t a = ids[engine() % ids.size()], b = ids[engine() % ids.size()];
        if (a == b) continue;
        src.push_back(a);
        dst.push_back(b);
        types.push_back(static_cast<std::uint8_t>(engine() % kTypes));
        weights.push_back(static_cast<float>(engine() % 101) / 100.0f);
    }
    engines::EdgeBatch batch;
    batch.src = src.data();
    batch.dst = dst.data();
    batch.type = types.data();
    batch.n = src.size();
    batch.weight = weights.data();
    graph.add_edges(batch);
    if (engine() % 2 == 0) graph.update_edges(batch);
    batch.n /= 4;
    graph.remove_edges(batch);
}

void reinforce(engines::Graph& graph, std::mt19937& engine, std::size_t round) {
    std::vector<std::int64_t> nodes;
    for (int i = 0; i < 16; ++i) nodes.push_back(static_cast<std::int64_t>(engine() % kLasting));
    const double quality = static_cast<double>(round % 10) / 9.0;
    graph.reinforce(nodes.data(), nodes.size(), {quality, std::nullopt, 1.0, 0.2, static_cast<double>(round)});
}

void write(engines::Graph& graph) {
    std::mt19937 engine(98);
    for (std::size_t round = 0; round < kRounds; ++round) {
        add_some_edges(graph, engine, 40);
        reinforce(graph, engine, round);
        if (round % 8 == 0) graph.decay(static_cast<double>(round), 0.2f, 1);
        if (round % 4 == 0) {
            const std::int64_t passing[] = {kLasting + static_cast<std::int64_t>(engine() % (kNodes - kLasting))};
            graph.add_nodes(passing, 1);
            if (round % 8 == 0) graph.remove_nodes(passing, 1);
        }
    }
}

}  // namespace

int main() {
    engines::Graph graph(0.0, kTypes, -INFINITY);
    const float half_life_s[kTypes] = {50.0f, 200.0f, std::numeric_limits<float>::infinity()};
    graph.set_half_lives(half_life_s);
    std::vector<std::int64_t> ids(kNodes);
    for (std::int64_t id = 0; id < kNodes; ++id) ids[static_cast<std::size_t>(id)] = id;
    graph.add_nodes(ids.data(), ids.size());

    std::atomic<bool> is_done{false};
    std::vector<std::thread> readers;
    for (unsigned seed = 0; seed < kReaders; ++seed) {
        readers.emplace_back([&, seed] { read(graph, is_done, seed); });
    }
    std::thread other([&] {  // writers take turns
        std::mt19937 engine(99);
        for (std::size_t round = 0; round < kRounds; ++round) reinforce(graph, engine, round);
    });
    write(graph);
    other.join();
    is_done = true;
    for (std::thread& reader : readers) reader.join();
    std::printf("%d failures\n", failures.load());
    return failures == 0 ? 0 : 1;
}
