// What graph attention sees of an edge.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ruvllm::kernels {

// Columns of nnz edges; times are float32 seconds since the graph's epoch.
struct EdgeColumnsView {
    const std::uint8_t* types;  // each < num_types
    const float* weights;
    const float* last_used;
    const std::uint16_t* successes;
    const std::uint16_t* failures;
    const std::uint8_t* directions;  // 1: seen from its target
    std::size_t nnz;
};

constexpr std::size_t num_edge_features(std::size_t num_types) { return num_types + 5; }

// Fills one row an edge: type one-hot (num_types), weight, recency 2^(-age / half_life_s[type]) with age =
// max(now - last_used, 0), success rate (successes + 1) / (uses + 2) (Laplace's rule: 1/2 before any outcome),
// log(1 + uses) with uses = successes + failures, direction.
//   half_life_s  (num_types,) float32, > 0
//   features     (nnz, num_types + 5) float32, out
void edge_features(const EdgeColumnsView& edges, std::size_t num_types, float now, const float* half_life_s,
                   float* features);

}  // namespace ruvllm::kernels
