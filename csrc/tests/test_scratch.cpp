// What a thread keeps between calls: small scratch memory, and neither large memory nor weights, even when a call throws.
// Every aligned allocation is counted. Returns 1 when anything failed.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <stdexcept>
#include <vector>

#include "engines/fastgrnn.hpp"
#include "engines/graph_attention.hpp"
#include "engines/scratch.hpp"

using namespace ruvllm;

namespace {

std::size_t live_bytes = 0;
int failures = 0;

void expect(bool is_true, const char* what) {
    if (is_true) return;
    ++failures;
    std::printf("FAILED %s (%zu bytes)\n", what, live_bytes);
}

struct Graph {
    std::vector<float> nodes, query;
    std::vector<std::int64_t> indptr;
    std::vector<std::int32_t> hops;

    Graph(std::size_t n, std::size_t dim, float value)
        : nodes(n * dim, value), query(dim, 1.0f), indptr(n + 1, 0), hops(n, 0) {}
    engines::Subgraph<float> subgraph() const {
        return {nodes.data(), hops.size(), indptr.data(), nullptr, nullptr, query.data(), hops.data(), nullptr};
    }
};

// Bytes that one call leaves behind, having thrown or not.
template <typename Call>
std::size_t left_by(Call call) {
    const std::size_t before = live_bytes;
    try {
        call();
    } catch (const std::invalid_argument&) {
    }
    return live_bytes - before;
}

void test_attention(const engines::GraphAttention<float>& engine, std::size_t dim) {
    std::vector<float> weights(20000), attended(dim), states(weights.size() * dim);
    const Graph small(10, dim, 1.0f), large(weights.size(), dim, 1.0f);
    const Graph overflowing(10, dim, std::numeric_limits<float>::max());
    const auto forward = [&](const Graph& graph) {
        return left_by([&] { engine.forward(graph.subgraph(), weights.data(), attended.data()); });
    };
    const auto encode = [&](const Graph& graph) {
        return left_by([&] { engine.encode(graph.subgraph(), states.data()); });
    };
    expect(forward(small) > 0, "a small pass keeps its memory");
    expect(forward(small) == 0 && encode(small) == 0, "a second call allocates nothing that stays");
    const std::size_t before = live_bytes;
    forward(large);
    encode(large);
    expect(live_bytes < before, "a large pass keeps nothing");
    expect(forward(overflowing) < engines::kKeptScratchBytes, "a pass that throws keeps little");
}

void test_weights() {
    const std::size_t dim = 64, before = live_bytes;
    {
        engines::GraphAttention<float> engine({dim, 64, 2, 1, 0, 0, 1});
        Graph graph(4, dim, std::numeric_limits<float>::max());
        graph.nodes[0] = -graph.nodes[0];
        std::vector<float> weights(4), attended(dim), states(4 * dim);
        bool has_thrown = false;
        try {
            engine.forward(graph.subgraph(), weights.data(), attended.data());
        } catch (const std::invalid_argument&) {
            has_thrown = true;
        }
        expect(has_thrown, "a pass that overflows throws");
        left_by([&] { engine.encode(graph.subgraph(), states.data()); });
    }
    expect(live_bytes <= before, "a call that throws keeps no weights");
}

void test_step() {
    engines::FastGrnnConfig config{};
    config.input_size = engines::kKeptScratchBytes / sizeof(float);
    config.hidden_size = 1;
    const engines::FastGrnn<float> model(config);
    const std::vector<float> x(config.input_size), h(1);
    std::vector<float> new_h(1);
    expect(left_by([&] { model.step(x.data(), h.data(), new_h.data(), nullptr); }) == 0, "a large step keeps nothing");
}

}  // namespace

// An allocation comes behind one alignment that holds its size.
constexpr std::size_t kAlignment = 64;

void* operator new(std::size_t size, std::align_val_t) {
    auto* start = static_cast<std::byte*>(std::aligned_alloc(kAlignment, (size / kAlignment + 2) * kAlignment));
    if (!start) throw std::bad_alloc();
    *reinterpret_cast<std::size_t*>(start) = size;
    live_bytes += size;
    return start + kAlignment;
}

void operator delete(void* memory, std::align_val_t) noexcept {
    if (!memory) return;
    auto* start = static_cast<std::byte*>(memory) - kAlignment;
    live_bytes -= *reinterpret_cast<std::size_t*>(start);
    std::free(start);
}

int main() {
    const std::size_t dim = 64;
    const engines::GraphAttention<float> engine({dim, 64, 2, 1, 0, 0, 1});
    test_attention(engine, dim);
    test_weights();
    test_step();
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
