// Exponential decay of edge weights, in place over whole columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// How long weights have been fading. Times are float32 seconds since the graph's epoch.
struct EdgeDecay {
    float now;
    float since;               // no age counts from before this; minus infinity: it counts from the last use
    const float* half_life_s;  // (num_types,) float32, > 0 and not subnormal; infinity: never fades
    std::size_t num_types;     // 1 .. 256
};

// Outcomes of an edge.
struct EdgeCounts {
    std::uint16_t successes, failures;
};

// w *= 2^(-age / half_life_s[type]) with age = max(now - max(last_used, since), 0), so that a last use in the future
// never raises a weight.
//   weights    (n,) float32, finite, in place
//   last_used  (n,) float32, finite
//   types      (n,) uint8, each < num_types; null: every edge has type 0
RUVLLM_KERNEL(void edge_decay(float* weights, const float* last_used, const std::uint8_t* types, std::size_t n,
                              const EdgeDecay& decay))

// The same, and which edges may be pruned: below `floor` although used at least `min_interactions` times.
//   types        (n,) uint8, each < num_types
//   counts       (n,); successes and failures together are the interactions of an edge
//   is_prunable  (n,) uint8, out: 1 or 0
// Returns the number of ones.
RUVLLM_KERNEL(std::size_t edge_decay_and_mark(float* weights, const float* last_used, const std::uint8_t* types,
                                              const EdgeCounts* counts, std::size_t n, const EdgeDecay& decay,
                                              float floor, std::uint32_t min_interactions, std::uint8_t* is_prunable))

}  // namespace ruvllm::kernels
