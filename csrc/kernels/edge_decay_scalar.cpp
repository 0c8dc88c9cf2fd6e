// The definition: one edge after the other.
#include "kernels/edge_decay.hpp"

#include <algorithm>
#include <cmath>

namespace ruvllm::kernels::scalar {
namespace {

float decayed(float weight, float last_used, std::uint8_t type, const EdgeDecay& decay) {
    const float age = std::max(decay.now - std::max(last_used, decay.since), 0.0f);
    return weight * std::exp2(-age / decay.half_life_s[type]);
}

}  // namespace

void edge_decay(float* weights, const float* last_used, const std::uint8_t* types, std::size_t n,
                const EdgeDecay& decay) {
    for (std::size_t i = 0; i < n; ++i) {
        weights[i] = decayed(weights[i], last_used[i], types ? types[i] : std::uint8_t{0}, decay);
    }
}

std::size_t edge_decay_and_mark(float* weights, const float* last_used, const std::uint8_t* types,
                                const EdgeCounts* counts, std::size_t n, const EdgeDecay& decay, float floor,
                                std::uint32_t min_interactions, std::uint8_t* is_prunable) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; ++i) {
        weights[i] = decayed(weights[i], last_used[i], types[i], decay);
        const std::uint32_t interactions = std::uint32_t{counts[i].successes} + counts[i].failures;
        is_prunable[i] = weights[i] < floor && interactions >= min_interactions;
        count += is_prunable[i];
    }
    return count;
}

}  // namespace ruvllm::kernels::scalar
