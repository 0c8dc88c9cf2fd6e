#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <type_traits>

#include "engines/graph_attention_local.hpp"
#include "engines/scratch.hpp"
#include "kernels/exact_search.hpp"

namespace ruvllm::engines {

using namespace attention;

namespace {

// Hands out parts of a buffer that start on a cache line; with no buffer it only counts.
template <typename Real>
class Carver {
  public:
    explicit Carver(Real* memory) : memory_(memory) {}
    Real* take(std::size_t size) {
        Real* part = memory_ ? memory_ + used_ : nullptr;
        used_ += (size + 15) / 16 * 16;
        return part;
    }
    std::size_t used() const { return used_; }

  private:
    Real* memory_;
    std::size_t used_ = 0;
};

// The tape of a call that leaves none. The thread keeps its memory for the next one unless it is large, the weights not.
template <typename Real>
class ScratchTape {
  public:
    ScratchTape() = default;
    ~ScratchTape() {
        tape().weights.reset();
        keep_if_small(tape().memory);
    }
    ScratchTape(const ScratchTape&) = delete;
    ScratchTape& operator=(const ScratchTape&) = delete;

    GraphAttentionTape<Real>& tape() const {
        thread_local GraphAttentionTape<Real> kept;
        return kept;
    }
};

bool is_finite(const float* values, std::size_t size) { return kernels::first_bad_row(values, 1, size) == 1; }
bool is_finite(const double* values, std::size_t size) {
    return std::all_of(values, values + size, [](double value) { return std::isfinite(value); });
}

// What overflows becomes an infinity and, where two meet, a NaN, which every sum after it keeps. Only a normalisation
// hides it: a variance of infinity makes its row 0.
template <typename Real>
bool has_overflowed(const GraphAttentionTape<Real>& tape, const Real* results, std::size_t size) {
    const auto is_lost = [](Real inverse_std) { return !(inverse_std > 0); };
    for (const auto& layer : tape.layers) {
        if (std::any_of(layer.inverse_std, layer.inverse_std + tape.graph.num_nodes, is_lost)) return true;
    }
    return !is_finite(results, size);
}

template <typename Real>
void require_no_overflow(const GraphAttentionTape<Real>& tape, const Real* results, std::size_t size) {
    if (!has_overflowed(tape, results, size)) return;
    const std::string type = std::is_same_v<Real, float> ? "float32" : "float64";
    throw std::invalid_argument("nodes, edge_features, query, node_features and parameters must not overflow " + type);
}

}  // namespace

GraphAttentionLayout::GraphAttentionLayout(const GraphAttentionSizes& s) {
    for (std::size_t l = 0; l < s.num_layers; ++l) {
        const std::string layer = "layers." + std::to_string(l) + ".";
        layers_.push_back({place(layer + "w_qkv", {3 * s.width, s.dim}), place(layer + "w_o", {s.width, s.dim}),
                           place(layer + "edge_bias", {s.num_edge_features, s.num_heads}),
                           place(layer + "self_bias", {s.num_heads}), place(layer + "gamma", {s.dim}),
                           place(layer + "beta", {s.dim})});
    }
    readout_ = {place("readout.w_q", {s.width, s.dim}), place("readout.w_k", {s.width, s.dim}),
                place("readout.w_v", {s.width, s.dim}), place("readout.w_o", {s.width, s.dim}),
                place("readout.hop_bias", {s.num_hop_biases, s.num_heads}),
                place("readout.node_bias", {s.num_node_features, s.num_heads})};
}

std::size_t GraphAttentionLayout::place(const std::string& name, std::vector<std::size_t> shape) {
    const std::size_t offset = size_;
    std::size_t size = 1;
    for (const std::size_t length : shape) size *= length;
    parameters_.push_back({name, offset, std::move(shape)});
    size_ += size;
    return offset;
}

template <typename Real>
GraphAttention<Real>::GraphAttention(const GraphAttentionSizes& sizes) : sizes_(sizes), layout_(sizes) {
    std::vector<Real> flat(layout_.size(), Real{0});
    for (std::size_t l = 0; l < sizes.num_layers; ++l) {
        std::fill_n(flat.begin() + static_cast<std::ptrdiff_t>(layout_.layer(l).gamma), sizes.dim, Real{1});
    }
    set_params(flat.data());
}

template <typename Real>
void GraphAttention<Real>::set_params(const Real* flat) {
    auto weights = std::make_shared<Weights>();
    weights->flat.reserve(layout_.size());
    std::copy_n(flat, layout_.size(), weights->flat.data());
    if constexpr (std::is_same_v<Real, float>) {
        const std::size_t d = sizes_.dim, p = sizes_.width;
        const std::size_t qkv_size = kernels::packed_size(d, 3 * p), o_size = kernels::packed_size(p, d);
        weights->packed.reserve(sizes_.num_layers * (qkv_size + o_size));
        for (std::size_t l = 0, offset = 0; l < sizes_.num_layers; ++l) {
            kernels::pack(flat + layout_.layer(l).w_qkv, 1, d, d, 3 * p, weights->packed.data() + offset);
            kernels::pack(flat + layout_.layer(l).w_o, d, 1, p, d, weights->packed.data() + offset + qkv_size);
            weights->layers.push_back({offset, offset + qkv_size});
            offset += qkv_size + o_size;
        }
    }
    const std::lock_guard lock(mutex_);
    weights_ = std::move(weights);
}

template <typename Real>
void GraphAttention<Real>::params(Real* flat) const {
    const auto weights = current_weights();
    std::copy_n(weights->flat.data(), layout_.size(), flat);
}

template <typename Real>
std::shared_ptr<const GraphAttentionWeights<Real>> GraphAttention<Real>::current_weights() const {
    const std::lock_guard lock(mutex_);
    return weights_;
}

// Gives the tape its subgraph, its weights and its memory.
template <typename Real>
void GraphAttention<Real>::start(const Subgraph<Real>& graph, bool with_readout, Tape& tape) const {
    const std::size_t n = graph.num_nodes, d = sizes_.dim, p = sizes_.width, heads = sizes_.num_heads;
    tape.graph = graph;
    tape.weights = current_weights();
    tape.layers.resize(sizes_.num_layers);
    const auto carve = [&](Carver<Real> carver) {
        for (auto& layer : tape.layers) {
            layer = {carver.take(n * 3 * p), carver.take(graph.num_edges() * heads), carver.take(n * heads),
                     carver.take(n * p), carver.take(n * d), carver.take(n), carver.take(n * d)};
        }
        if (with_readout) {
            tape.query = carver.take(p);
            tape.folded = carver.take(heads * d);
            tape.attention = carver.take(n * heads);
            tape.pooled = carver.take(heads * d);
            tape.values = carver.take(p);
        }
        return carver.used();
    };
    tape.memory.reserve(carve(Carver<Real>(nullptr)));
    carve(Carver<Real>(tape.memory.data()));
    tape.states = tape.layers.empty() ? graph.nodes : tape.layers.back().states;
}

template <typename Real>
void GraphAttention<Real>::run_layers(Tape& tape) const {
    const std::size_t n = tape.graph.num_nodes, d = sizes_.dim, p = sizes_.width, heads = sizes_.num_heads;
    const std::size_t num_edges = tape.graph.num_edges(), num_features = sizes_.num_edge_features;
    const Weights& weights = *tape.weights;
    const Real* flat = weights.flat.data();
    const Real* states = tape.graph.nodes;
    for (std::size_t l = 0; l < sizes_.num_layers; ++l) {
        const auto& at = layout_.layer(l);
        const auto& layer = tape.layers[l];
        matmul(tape.graph.edge_features, num_features, flat + at.edge_bias, heads, num_edges, heads, num_features,
               kReplace, layer.edge_weights, heads);
        const auto edges = edges_of(sizes_, tape.graph, layer.qkv, flat + at.self_bias);
        if constexpr (std::is_same_v<Real, float>) {
            const float* packed = weights.packed.data();
            kernels::matmul_packed(states, d, packed + weights.layers[l].w_qkv, n, 3 * p, d, kReplace, layer.qkv,
                                   3 * p);
            kernels::edge_attention(edges, layer.edge_weights, layer.self_weights, layer.context);
            kernels::matmul_packed(layer.context, p, packed + weights.layers[l].w_o, n, d, p, kReplace,
                                   layer.normalized, d);
        } else {
            matmul_nt(states, d, flat + at.w_qkv, d, n, 3 * p, d, kReplace, layer.qkv, 3 * p);
            kernels::edge_attention(edges, layer.edge_weights, layer.self_weights, layer.context);
            matmul(layer.context, p, flat + at.w_o, d, n, d, p, kReplace, layer.normalized, d);
        }
        kernels::add_and_normalize(states, flat + at.gamma, flat + at.beta, n, d, layer.normalized, layer.inverse_std,
                                   layer.states);
        states = layer.states;
    }
}

template <typename Real>
void GraphAttention<Real>::read_out(Tape& tape, Real* weights, Real* attended) const {
    const std::size_t n = tape.graph.num_nodes, d = sizes_.dim, p = sizes_.width, heads = sizes_.num_heads;
    const std::size_t head_dim = p / heads, num_features = sizes_.num_node_features;
    const auto& at = layout_.readout();
    const Real* flat = tape.weights->flat.data();
    const Real scale = 1 / std::sqrt(static_cast<Real>(head_dim));

    matmul_nt(tape.graph.query, d, flat + at.w_q, d, 1, p, d, kReplace, tape.query, p);
    for (std::size_t c = 0; c < p; ++c) tape.query[c] *= scale;
    for (std::size_t h = 0; h < heads; ++h) {  // u_h = q_h W_k[h]
        const std::size_t first = h * head_dim;
        matmul(tape.query + first, head_dim, flat + at.w_k + first * d, d, 1, d, head_dim, kReplace,
               tape.folded + h * d, d);
    }
    for (std::size_t i = 0; i < n; ++i) {
        const Real* bias = flat + at.hop_bias + hop_row(sizes_, tape.graph.hops[i]) * heads;
        std::copy_n(bias, heads, tape.attention + i * heads);
    }
    matmul(tape.graph.node_features, num_features, flat + at.node_bias, heads, n, heads, num_features, kAdd,
           tape.attention, heads);
    matmul_nt(tape.states, d, tape.folded, d, n, heads, d, kAdd, tape.attention, heads);
    kernels::softmax_columns(n, heads, tape.attention);

    for (std::size_t i = 0; i < n; ++i) {
        Real total = 0;
        for (std::size_t h = 0; h < heads; ++h) total += tape.attention[i * heads + h];
        weights[i] = total / static_cast<Real>(heads);
    }
    matmul_tn(tape.attention, heads, tape.states, d, heads, d, n, kReplace, tape.pooled, d);
    for (std::size_t h = 0; h < heads; ++h) {  // W_v[h] applied to head h's pooled vector
        const std::size_t first = h * head_dim;
        matmul_nt(tape.pooled + h * d, d, flat + at.w_v + first * d, d, 1, head_dim, d, kReplace, tape.values + first,
                  head_dim);
    }
    matmul(tape.values, p, flat + at.w_o, d, 1, d, p, kReplace, attended, d);
}

template <typename Real>
void GraphAttention<Real>::encode(const Subgraph<Real>& graph, Real* out) const {
    const ScratchTape<Real> scratch;
    Tape& tape = scratch.tape();
    start(graph, false, tape);
    run_layers(tape);
    require_no_overflow(tape, tape.states, graph.num_nodes * sizes_.dim);
    std::copy_n(tape.states, graph.num_nodes * sizes_.dim, out);
}

template <typename Real>
void GraphAttention<Real>::forward(const Subgraph<Real>& graph, Real* weights, Real* attended) const {
    const ScratchTape<Real> scratch;
    forward(graph, scratch.tape(), weights, attended);
}

template <typename Real>
void GraphAttention<Real>::forward(const Subgraph<Real>& graph, Tape& tape, Real* weights, Real* attended) const {
    start(graph, true, tape);
    run_layers(tape);
    read_out(tape, weights, attended);
    require_no_overflow(tape, weights, graph.num_nodes);
    require_no_overflow(tape, attended, sizes_.dim);
}

template <typename Real>
void rank(const Real* weights, std::size_t n, std::int64_t* ranking) {
    std::iota(ranking, ranking + n, std::int64_t{0});
    std::sort(ranking, ranking + n, [weights](std::int64_t i, std::int64_t j) {
        return weights[i] > weights[j] || (weights[i] == weights[j] && i < j);
    });
}

template void rank(const float*, std::size_t, std::int64_t*);
template void rank(const double*, std::size_t, std::int64_t*);
template class GraphAttention<float>;
template class GraphAttention<double>;

}  // namespace ruvllm::engines
