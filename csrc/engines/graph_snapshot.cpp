// A graph as bytes and back. Little-endian, columns one after the other, checksum last:
//   magic "RUVLGRPH", version u64, epoch f64, decayed_at f64, num_types u64, num_nodes u64, num_edges u64
//   ids i64 (num_nodes), out-degree u32 (num_nodes), then by source and (dst, type), (num_edges) each:
//   dst u32 (place in ids), weight f32, last_used f32, (successes u16, failures u16), type u8
//   XXH64 of everything before, u64
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <shared_mutex>
#include <stdexcept>
#include <string>

#include "engines/graph.hpp"
#include "kernels/checksum.hpp"

static_assert(std::endian::native == std::endian::little, "snapshots are written as memory holds them");

namespace ruvllm::engines {
namespace {

constexpr std::uint64_t kVersion = 1;
constexpr char kMagic[] = {'R', 'U', 'V', 'L', 'G', 'R', 'P', 'H'};
constexpr std::size_t kNodeBytes = 12, kEdgeBytes = 17, kChecksumBytes = 8;

struct Header {
    char magic[sizeof kMagic];
    std::uint64_t version;
    double epoch, decayed_at;
    std::uint64_t num_types, num_nodes, num_edges;
};
static_assert(sizeof(Header) == 56);

std::invalid_argument damaged(const char* what) { return std::invalid_argument(std::string("snapshot must ") + what); }

// A column of T at any alignment.
template <typename T>
class Column {
  public:
    explicit Column(const char* at) : at_(at) {}
    T operator[](std::size_t i) const {
        T value;
        std::memcpy(&value, at_ + i * sizeof(T), sizeof(T));
        return value;
    }
    void copy_to(T* to, std::size_t count) const {
        if (count > 0) std::memcpy(to, at_, count * sizeof(T));
    }

  private:
    const char* at_;
};

// Walks over a snapshot whose length is known to be right.
class Cursor {
  public:
    explicit Cursor(const char* at) : at_(at) {}
    template <typename T>
    Column<T> column(std::size_t count) {
        const Column<T> column(at_);
        at_ += count * sizeof(T);
        return column;
    }

  private:
    const char* at_;
};

class Writer {
  public:
    explicit Writer(std::size_t bytes) { bytes_.reserve(bytes); }
    template <typename T>
    void put(const T& value) {
        const auto* from = reinterpret_cast<const std::uint8_t*>(&value);
        bytes_.insert(bytes_.end(), from, from + sizeof value);
    }
    template <typename T>
    void put_all(const Buffer<T>& column, const std::vector<std::uint32_t>& slots) {
        for (const std::uint32_t slot : slots) put(column[slot]);
    }
    std::vector<std::uint8_t> seal() {
        put(kernels::hash64(bytes_.data(), bytes_.size()));
        return std::move(bytes_);
    }

  private:
    std::vector<std::uint8_t> bytes_;
};

Header checked_header(std::string_view bytes) {
    Header header;
    if (bytes.size() < sizeof header + kChecksumBytes) throw damaged("be a whole graph snapshot (too short)");
    std::memcpy(&header, bytes.data(), sizeof header);
    if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) throw damaged("be a graph snapshot (foreign bytes)");
    if (header.version != kVersion) throw damaged("be of version 1");
    // In turn, so that no product overflows.
    const std::size_t body = bytes.size() - sizeof header - kChecksumBytes;
    if (header.num_nodes > body / kNodeBytes || header.num_nodes >= kNone) throw damaged("be whole (num_nodes)");
    const std::size_t edge_bytes = body - header.num_nodes * kNodeBytes;
    if (edge_bytes % kEdgeBytes != 0 || header.num_edges != edge_bytes / kEdgeBytes || header.num_edges >= kNone) {
        throw damaged("be whole (num_edges)");
    }
    std::uint64_t checksum;
    std::memcpy(&checksum, bytes.data() + bytes.size() - kChecksumBytes, kChecksumBytes);
    if (checksum != kernels::hash64(bytes.data(), bytes.size() - kChecksumBytes)) throw damaged("match its checksum");
    // From here on only a forged snapshot can be wrong; it is refused all the same.
    if (!(std::fabs(header.epoch) <= kMaxSeconds)) throw damaged("hold a finite epoch");
    if (!(header.decayed_at <= kMaxSeconds)) throw damaged("hold a valid decayed_at");
    if (header.num_types < 1 || header.num_types > 256) throw damaged("hold 1 to 256 types");
    return header;
}

}  // namespace

std::vector<std::uint8_t> Graph::snapshot() const {
    const std::shared_lock reading(lock_);
    const EdgeColumns& c = storage_.columns();
    const std::size_t num_nodes = storage_.num_nodes(), num_edges = storage_.num_edges();
    std::vector<std::uint32_t> place(storage_.end_row(), kNone), slots;  // of rows in ids; in the order of the snapshot
    slots.reserve(num_edges);
    Writer writer(sizeof(Header) + num_nodes * kNodeBytes + num_edges * kEdgeBytes + kChecksumBytes);
    Header header{{}, kVersion, epoch_, decayed_at_, num_types_, num_nodes, num_edges};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    writer.put(header);
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
    writer.put_all(c.weight, slots);
    writer.put_all(c.last_used, slots);
    writer.put_all(c.counts, slots);
    writer.put_all(c.type, slots);
    return writer.seal();
}

std::unique_ptr<Graph> Graph::restore(std::string_view bytes) {
    const Header header = checked_header(bytes);
    const std::size_t num_nodes = header.num_nodes, num_edges = header.num_edges;
    Cursor cursor(bytes.data() + sizeof header);
    const auto ids = cursor.column<std::int64_t>(num_nodes);
    const auto degree = cursor.column<std::uint32_t>(num_nodes), dst = cursor.column<std::uint32_t>(num_edges);
    std::vector<float> weight(num_edges), last_used(num_edges);
    std::vector<std::uint16_t> successes(num_edges), failures(num_edges);
    cursor.column<float>(num_edges).copy_to(weight.data(), num_edges);
    cursor.column<float>(num_edges).copy_to(last_used.data(), num_edges);
    const auto counts = cursor.column<kernels::EdgeCounts>(num_edges);
    for (std::size_t i = 0; i < num_edges; ++i) {
        successes[i] = counts[i].successes;
        failures[i] = counts[i].failures;
    }
    const auto type = cursor.column<std::uint8_t>(num_edges);

    auto graph = std::make_unique<Graph>(header.epoch, header.num_types, header.decayed_at);
    GraphStorage& storage = graph->storage_;
    storage.reserve_rows(num_nodes);
    for (std::size_t i = 0; i < num_nodes; ++i) {
        if (storage.find_row(ids[i]) != kNone) throw damaged("name each node once");
        storage.add_row(ids[i]);  // row i
    }
    std::vector<EdgeItem> items;
    items.reserve(num_edges);
    std::size_t edge = 0;
    for (std::uint32_t src = 0; src < num_nodes; ++src) {
        if (degree[src] > num_edges - edge) throw damaged("hold as many edges as its degrees say");
        for (const std::size_t first = edge, end = edge + degree[src]; edge < end; ++edge) {
            if (dst[edge] >= num_nodes || dst[edge] == src) throw damaged("hold edges between two of its nodes");
            if (type[edge] >= header.num_types) throw damaged("hold types below num_types");
            if (!(weight[edge] >= 0.0f && weight[edge] <= 1.0f)) throw damaged("hold weights in [0, 1]");
            if (!(std::fabs(last_used[edge]) <= kMaxSeconds)) throw damaged("hold finite times");
            if (edge > first && (dst[edge - 1] > dst[edge] ||
                                 (dst[edge - 1] == dst[edge] && type[edge - 1] >= type[edge]))) {
                throw damaged("hold each edge once, in order");
            }
            items.push_back({std::uint64_t{src} << 32 | dst[edge], static_cast<std::uint32_t>(edge), type[edge]});
        }
    }
    if (edge != num_edges) throw damaged("hold as many edges as its degrees say");
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
