// The gradients of graph_attention.cpp: the lines of its passes, last one first.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engines/graph_attention_local.hpp"

namespace ruvllm::engines {

using namespace attention;

namespace {

// The lines of read_out, last one first. Adds to gradients that are zero on entry.
template <typename Real>
void backward_readout(const GraphAttentionSizes& sizes, const GraphAttentionLayout& layout,
                      const GraphAttentionTape<Real>& tape, const Real* grad_weights, const Real* grad_attended,
                      const GraphAttentionGradients<Real>& gradients, Real* grad_states) {
    const std::size_t n = tape.graph.num_nodes, d = sizes.dim, p = sizes.width, heads = sizes.num_heads;
    const std::size_t head_dim = p / heads, num_features = sizes.num_node_features;
    const auto& at = layout.readout();
    const Real* flat = tape.weights->flat.data();
    Real* grad_flat = gradients.parameters;
    const Real scale = 1 / std::sqrt(static_cast<Real>(head_dim));
    std::vector<Real> grad_attention(n * heads), grad_values(p), grad_pooled(heads * d), grad_folded(heads * d),
        grad_query(p);

    if (grad_attended) {
        matmul_tn(tape.values, p, grad_attended, d, p, d, 1, kAdd, grad_flat + at.w_o, d);
        matmul_nt(grad_attended, d, flat + at.w_o, d, 1, p, d, kReplace, grad_values.data(), p);
        for (std::size_t h = 0; h < heads; ++h) {
            const std::size_t first = h * head_dim;
            matmul_tn(grad_values.data() + first, head_dim, tape.pooled + h * d, d, head_dim, d, 1, kAdd,
                      grad_flat + at.w_v + first * d, d);
            matmul(grad_values.data() + first, head_dim, flat + at.w_v + first * d, d, 1, d, head_dim, kReplace,
                   grad_pooled.data() + h * d, d);
        }
        matmul_nt(tape.states, d, grad_pooled.data(), d, n, heads, d, kReplace, grad_attention.data(), heads);
        matmul(tape.attention, heads, grad_pooled.data(), d, n, d, heads, kAdd, grad_states, d);
    }
    for (std::size_t i = 0; grad_weights && i < n; ++i) {
        for (std::size_t h = 0; h < heads; ++h) {
            grad_attention[i * heads + h] += grad_weights[i] / static_cast<Real>(heads);
        }
    }
    kernels::softmax_columns_backward(tape.attention, n, heads, grad_attention.data());
    const Real* grad_scores = grad_attention.data();

    matmul_tn(grad_scores, heads, tape.states, d, heads, d, n, kReplace, grad_folded.data(), d);
    matmul(grad_scores, heads, tape.folded, d, n, d, heads, kAdd, grad_states, d);
    matmul_tn(tape.graph.node_features, num_features, grad_scores, heads, num_features, heads, n, kAdd,
              grad_flat + at.node_bias, heads);
    matmul_nt(grad_scores, heads, flat + at.node_bias, heads, n, num_features, heads, kAdd, gradients.node_features,
              num_features);
    for (std::size_t i = 0; i < n; ++i) {
        Real* grad_bias = grad_flat + at.hop_bias + hop_row(sizes, tape.graph.hops[i]) * heads;
        for (std::size_t h = 0; h < heads; ++h) grad_bias[h] += grad_scores[i * heads + h];
    }
    for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t first = h * head_dim;
        matmul_tn(tape.query + first, head_dim, grad_folded.data() + h * d, d, head_dim, d, 1, kAdd,
                  grad_flat + at.w_k + first * d, d);
        matmul_nt(grad_folded.data() + h * d, d, flat + at.w_k + first * d, d, 1, head_dim, d, kReplace,
                  grad_query.data() + first, head_dim);
    }
    for (Real& grad : grad_query) grad *= scale;
    matmul_tn(grad_query.data(), p, tape.graph.query, d, p, d, 1, kAdd, grad_flat + at.w_q, d);
    matmul(grad_query.data(), p, flat + at.w_q, d, 1, d, p, kAdd, gradients.query, d);
}

// The lines of one layer, last one first. `grad_states` (n, d): dL/dH after the layer on entry, before it on return.
template <typename Real>
void backward_layer(const GraphAttentionSizes& sizes, const GraphAttentionLayout& layout,
                    const GraphAttentionTape<Real>& tape, std::size_t l,
                    const GraphAttentionGradients<Real>& gradients, Real* grad_states) {
    const std::size_t n = tape.graph.num_nodes, d = sizes.dim, p = sizes.width, heads = sizes.num_heads;
    const std::size_t num_edges = tape.graph.num_edges(), num_features = sizes.num_edge_features;
    const auto& at = layout.layer(l);
    const auto& layer = tape.layers[l];
    const Real* flat = tape.weights->flat.data();
    const Real* states = l == 0 ? tape.graph.nodes : tape.layers[l - 1].states;  // before this layer
    Real* grad_flat = gradients.parameters;
    std::vector<Real> grad_context(n * p), grad_qkv(n * 3 * p), grad_edge_scores(num_edges * heads),
        grad_self_scores(n * heads);

    kernels::normalize_backward(layer.normalized, layer.inverse_std, flat + at.gamma, grad_states, n, d,
                                grad_flat + at.gamma, grad_flat + at.beta, grad_states);
    matmul_tn(layer.context, p, grad_states, d, p, d, n, kAdd, grad_flat + at.w_o, d);
    matmul_nt(grad_states, d, flat + at.w_o, d, n, p, d, kReplace, grad_context.data(), p);
    kernels::edge_attention_backward(edges_of(sizes, tape.graph, layer.qkv, flat + at.self_bias), layer.edge_weights,
                                     layer.self_weights, grad_context.data(), grad_edge_scores.data(),
                                     grad_self_scores.data(), grad_qkv.data());
    for (std::size_t i = 0; i < n * heads; ++i) grad_flat[at.self_bias + i % heads] += grad_self_scores[i];
    matmul_tn(tape.graph.edge_features, num_features, grad_edge_scores.data(), heads, num_features, heads, num_edges,
              kAdd, grad_flat + at.edge_bias, heads);
    matmul_nt(grad_edge_scores.data(), heads, flat + at.edge_bias, heads, num_edges, num_features, heads, kAdd,
              gradients.edge_features, num_features);
    matmul_tn(grad_qkv.data(), 3 * p, states, d, 3 * p, d, n, kAdd, grad_flat + at.w_qkv, d);
    matmul(grad_qkv.data(), 3 * p, flat + at.w_qkv, d, n, d, 3 * p, kAdd, grad_states, d);  // beside the residual
}

}  // namespace

template <typename Real>
void GraphAttention<Real>::backward(const Tape& tape, const Real* grad_weights, const Real* grad_attended,
                                    const GraphAttentionGradients<Real>& gradients) const {
    const std::size_t n = tape.graph.num_nodes, d = sizes_.dim;
    std::fill_n(gradients.parameters, layout_.size(), Real{0});
    std::fill_n(gradients.nodes, n * d, Real{0});
    std::fill_n(gradients.edge_features, tape.graph.num_edges() * sizes_.num_edge_features, Real{0});
    std::fill_n(gradients.query, d, Real{0});
    std::fill_n(gradients.node_features, n * sizes_.num_node_features, Real{0});
    backward_readout(sizes_, layout_, tape, grad_weights, grad_attended, gradients, gradients.nodes);
    for (std::size_t l = sizes_.num_layers; l-- > 0;) backward_layer(sizes_, layout_, tape, l, gradients, gradients.nodes);
}

template void GraphAttention<float>::backward(const Tape&, const float*, const float*,
                                              const GraphAttentionGradients<float>&) const;
template void GraphAttention<double>::backward(const Tape&, const double*, const double*,
                                              const GraphAttentionGradients<double>&) const;

}  // namespace ruvllm::engines
