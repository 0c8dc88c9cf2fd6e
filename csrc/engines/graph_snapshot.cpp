// Between magic and checksum (see bytes.hpp):
//   epoch f64, decayed_at f64, num_types u64, num_nodes u64, num_edges u64
//   ids i64 (num_nodes), out-degree u32 (num_nodes), then by source and (dst, type), (num_edges) each:
//   dst u32 (place in ids), weight f32, last_used f32, (successes u16, failures u16), type u8
#include <algorithm>
#include <cmath>
#include <limits>
#include <shared_mutex>
#include <string>

#include "engines/bytes.hpp"
#include "engines/graph.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::string_view kMagic = "RUVLGRPH";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 40, kNodeBytes = 12, kEdgeBytes = 17;

template <typename T>
void put_slots(SnapshotWriter& writer, const Buffer<T>& column, const std::vector<std::uint32_t>& slots) {
    std::vector<T> values(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) values[i] = column[slots[i]];
    writer.put_all(values.data(), values.size());
}

}  // namespace

std::string Graph::snapshot() const {
    const std::shared_lock reading(lock_);
    const EdgeColumns& c = storage_.columns();
    const std::size_t num_nodes = storage_.num_nodes(), num_edges = storage_.num_edges();
    std::vector<std::uint32_t> place(storage_.end_row(), kNone), slots;  // of rows in ids; in the order of the snapshot
    slots.reserve(num_edges);
    SnapshotWriter writer(kMagic, kVersion, kHeaderBytes + num_nodes * kNodeBytes + num_edges * kEdgeBytes);
    writer.put(epoch_);
    writer.put(decayed_at_);
    const std::uint64_t sizes[] = {num_types_, num_nodes, num_edges};
    writer.put_all(sizes, 3);
    std::uint32_t count = 0;
    for (std::uint32_t row = 0; row < storage_.end_row(); ++row) {
        if (!storage_.is_live(row)) continue;
        place[row] = count++;
        writer.put(storage_.node(row).id);
    }
    for (std::uint32_t row = 0; row < storage_.end_row(); ++row) {
        if (place[row] == kNone) continue;
        const Span& out = storage_.node(row).out;
        writer.put(out.size);
        for (std::uint32_t i = 0; i < out.size; ++i) slots.push_back(out.begin + i);
        std::sort(slots.end() - out.size, slots.end(), [&](std::uint32_t a, std::uint32_t b) {
            return c.dst[a] != c.dst[b] ? c.dst[a] < c.dst[b] : c.type[a] < c.type[b];
        });
    }
    for (const std::uint32_t slot : slots) writer.put(place[c.dst[slot]]);
    put_slots(writer, c.weight, slots);
    put_slots(writer, c.last_used, slots);
    put_slots(writer, c.counts, slots);
    put_slots(writer, c.type, slots);
    return writer.seal();
}

std::unique_ptr<Graph> Graph::restore(std::string_view bytes) {
    SnapshotReader reader(kMagic, kVersion, bytes);
    const auto epoch = reader.take<double>(), decayed_at = reader.take<double>();
    const auto num_types = reader.take<std::uint64_t>(), num_nodes = reader.take<std::uint64_t>(),
               num_edges = reader.take<std::uint64_t>();
    if (!(std::fabs(epoch) <= kMaxSeconds)) throw bad_snapshot("hold a finite epoch");
    if (!(std::fabs(decayed_at - epoch) <= kMaxSeconds || decayed_at == -std::numeric_limits<double>::infinity())) {
        throw bad_snapshot("hold a valid decayed_at");
    }
    if (num_types < 1 || num_types > 256) throw bad_snapshot("hold 1 to 256 types");
    if (num_nodes >= kNone || num_edges >= kNone) throw bad_snapshot("hold fewer nodes and edges");
    const auto ids = reader.take_column<std::int64_t>(num_nodes);
    const auto degree = reader.take_column<std::uint32_t>(num_nodes), dst = reader.take_column<std::uint32_t>(num_edges);
    const auto weight = reader.take_column<float>(num_edges), last_used = reader.take_column<float>(num_edges);
    const auto counts = reader.take_column<kernels::EdgeCounts>(num_edges);
    const auto type = reader.take_column<std::uint8_t>(num_edges);
    reader.finish();
    std::vector<std::uint16_t> successes(num_edges), failures(num_edges);
    for (std::size_t i = 0; i < num_edges; ++i) {
        successes[i] = counts[i].successes;
        failures[i] = counts[i].failures;
    }

    auto graph = std::make_unique<Graph>(epoch, num_types, decayed_at);
    GraphStorage& storage = graph->storage_;
    storage.reserve_rows(num_nodes);
    for (std::size_t i = 0; i < num_nodes; ++i) {
        if (storage.find_row(ids[i]) != kNone) throw bad_snapshot("name each node once");
        storage.add_row(ids[i]);  // row i
    }
    std::vector<EdgeItem> items;
    items.reserve(num_edges);
    std::size_t edge = 0;
    for (std::uint32_t src = 0; src < num_nodes; ++src) {
        if (degree[src] > num_edges - edge) throw bad_snapshot("hold as many edges as its degrees say");
        for (const std::size_t first = edge, end = edge + degree[src]; edge < end; ++edge) {
            if (dst[edge] >= num_nodes || dst[edge] == src) throw bad_snapshot("hold edges between two of its nodes");
            if (type[edge] >= num_types) throw bad_snapshot("hold types below num_types");
            if (!(weight[edge] >= 0.0f && weight[edge] <= 1.0f)) throw bad_snapshot("hold weights in [0, 1]");
            if (!(std::fabs(last_used[edge]) <= kMaxSeconds)) throw bad_snapshot("hold finite times");
            if (edge > first && (dst[edge - 1] > dst[edge] ||
                                 (dst[edge - 1] == dst[edge] && type[edge - 1] >= type[edge]))) {
                throw bad_snapshot("hold each edge once, in order");
            }
            items.push_back({std::uint64_t{src} << 32 | dst[edge], static_cast<std::uint32_t>(edge), type[edge]});
        }
    }
    if (edge != num_edges) throw bad_snapshot("hold as many edges as its degrees say");
    EdgeBatch batch;
    batch.n = num_edges;
    batch.weight = weight.data();
    batch.last_used = last_used.data();
    batch.successes = successes.data();
    batch.failures = failures.data();
    storage.insert(items, batch);
    return graph;
}

}  // namespace ruvllm::engines
