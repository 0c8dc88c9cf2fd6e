// What the passes of graph attention, forward and backward, both need.
#pragma once

#include <algorithm>
#include <cmath>

#include "engines/graph_attention.hpp"
#include "kernels/graph_attention.hpp"
#include "kernels/matmul.hpp"

namespace ruvllm::engines::attention {

using kernels::matmul;
using kernels::matmul_nt;
using kernels::matmul_tn;

inline constexpr bool kReplace = false, kAdd = true;  // what a product does to its output

template <typename Real>
kernels::EdgeAttention<Real> edges_of(const GraphAttentionSizes& sizes, const Subgraph<Real>& graph, const Real* qkv,
                                      const Real* self_bias) {
    const std::size_t head_dim = sizes.width / sizes.num_heads;
    return {graph.num_nodes, sizes.num_heads, head_dim, graph.indptr, graph.indices, qkv, self_bias,
            1 / std::sqrt(static_cast<Real>(head_dim))};
}

inline std::size_t hop_row(const GraphAttentionSizes& sizes, std::int32_t hop) {
    return std::min(static_cast<std::size_t>(hop), sizes.num_hop_biases - 1);
}

}  // namespace ruvllm::engines::attention
