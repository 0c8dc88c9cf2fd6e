#include "kernels/edge_decay.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void edge_decay(float* weights, const float* last_used, const std::uint8_t* types, std::size_t n,
                const EdgeDecay& decay) {
    RUVLLM_DISPATCH(edge_decay)(weights, last_used, types, n, decay);
}

std::size_t edge_decay_and_mark(float* weights, const float* last_used, const std::uint8_t* types,
                                const EdgeCounts* counts, std::size_t n, const EdgeDecay& decay, float floor,
                                std::uint32_t min_interactions, std::uint8_t* is_prunable) {
    return RUVLLM_DISPATCH(edge_decay_and_mark)(weights, last_used, types, counts, n, decay, floor, min_interactions,
                                                is_prunable);
}

}  // namespace ruvllm::kernels
