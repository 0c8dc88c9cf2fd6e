// Writers that run out of memory at any of their allocations: nothing has changed then. Returns 1 when anything failed.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "engines/graph.hpp"

using namespace ruvllm;

namespace {

long allocations_left = -1;  // negative: without end
int failures = 0;

void* allocate(std::size_t size) {
    if (allocations_left == 0) throw std::bad_alloc();
    if (allocations_left > 0) --allocations_left;
    void* memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

std::string a_graph() {
    engines::Graph graph(0.0, 2, -INFINITY);
    std::vector<std::int64_t> ids, src, dst;
    std::vector<std::uint8_t> types;
    std::vector<float> weights;
    for (std::int64_t id = 0; id < 40; ++id) {
        ids.push_back(id);
        for (std::int64_t step = 1; step < 6; ++step) {
            src.push_back(id);
            dst.push_back((id + step) % 40);
            types.push_back(static_cast<std::uint8_t>(step % 2));
            weights.push_back(static_cast<float>(step) / 10.0f);
        }
    }
    engines::EdgeBatch batch;
    batch.src = src.data();
    batch.dst = dst.data();
    batch.type = types.data();
    batch.n = src.size();
    batch.weight = weights.data();
    graph.add_nodes(ids.data(), ids.size());
    graph.add_edges(batch);
    return graph.snapshot();
}

// Lets `write` fail at its first allocation, its second, and so on until it has enough.
template <typename Write>
void run_out_of_memory(const char* what, const Write& write) {
    const std::string before = a_graph();
    const float half_life_s[] = {10.0f, 20.0f};
    for (long enough = 0;; ++enough) {
        const std::unique_ptr<engines::Graph> graph = engines::Graph::restore(before);
        graph->set_half_lives(half_life_s);
        bool is_done = true;
        allocations_left = enough;
        try {
            write(*graph);
        } catch (const std::bad_alloc&) {
            is_done = false;
        }
        allocations_left = -1;
        if ((graph->snapshot() == before) == is_done) {
            std::printf("FAILED %s with memory for %ld allocations\n", what, enough);
            ++failures;
        }
        if (is_done) return;
    }
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main() {
    const std::int64_t nodes[] = {3, 4, 5, 6};
    run_out_of_memory("decay", [](engines::Graph& graph) { graph.decay(10.0, 0.2f, 0); });
    run_out_of_memory("reinforce", [&](engines::Graph& graph) {
        graph.reinforce(nodes, 4, {0.9, std::nullopt, 1.0, 0.1, 5.0});
    });
    run_out_of_memory("remove_nodes", [&](engines::Graph& graph) { graph.remove_nodes(nodes, 4); });
    run_out_of_memory("add_edges", [&](engines::Graph& graph) {
        const std::int64_t src[] = {0, 0, 1}, dst[] = {20, 1, 22};
        const std::uint8_t types[] = {1, 1, 0};
        const float weights[] = {0.9f, 0.9f, 0.9f};
        engines::EdgeBatch batch;
        batch.src = src;
        batch.dst = dst;
        batch.type = types;
        batch.n = 3;
        batch.weight = weights;
        graph.add_edges(batch);
    });
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
