// Query-centred, edge-biased, multi-head graph attention: the layers, the readout, and their gradients.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engines/aligned.hpp"

namespace ruvllm::engines {

// Sizes of one engine. `width` is p, the width of every projection, a multiple of num_heads.
struct GraphAttentionSizes {
    std::size_t dim, width, num_heads, num_layers, num_edge_features, num_node_features, num_hop_biases;

    bool operator==(const GraphAttentionSizes&) const = default;
};

// Where a parameter lies in the flat buffer.
struct Parameter {
    std::string name;
    std::size_t offset;
    std::vector<std::size_t> shape;
};

// The flat buffer: every parameter contiguous and row-major, in this order, without gaps. With d = dim, H = num_heads,
// and F, G and B the numbers of edge features, node features and hop biases:
//   layers.L.w_qkv      (3 p, d)  rows of Q, K and V; row h p/H + c of each third is coordinate c of head h
//   layers.L.w_o        (p, d)
//   layers.L.edge_bias  (F, H)
//   layers.L.self_bias  (H,)
//   layers.L.gamma      (d,)
//   layers.L.beta       (d,)
//   readout.w_q         (p, d)
//   readout.w_k         (p, d)
//   readout.w_v         (p, d)
//   readout.w_o         (p, d)
//   readout.hop_bias    (B, H)
//   readout.node_bias   (G, H)
class GraphAttentionLayout {
  public:
    struct Layer {
        std::size_t w_qkv, w_o, edge_bias, self_bias, gamma, beta;
    };
    struct Readout {
        std::size_t w_q, w_k, w_v, w_o, hop_bias, node_bias;
    };

    explicit GraphAttentionLayout(const GraphAttentionSizes& sizes);

    const std::vector<Parameter>& parameters() const { return parameters_; }
    std::size_t size() const { return size_; }
    const Layer& layer(std::size_t l) const { return layers_[l]; }
    const Readout& readout() const { return readout_; }

  private:
    std::size_t place(const std::string& name, std::vector<std::size_t> shape);

    std::vector<Parameter> parameters_;
    std::vector<Layer> layers_;
    Readout readout_;
    std::size_t size_ = 0;
};

// What attention looks at; nothing is owned. Finite, row-major; n >= 1.
template <typename Real>
struct Subgraph {
    const Real* nodes;  // (n, d)
    std::size_t num_nodes;
    const std::int64_t* indptr;   // (n + 1,)
    const std::int32_t* indices;  // (indptr[n],) in [0, n): row i lists what node i attends to beside itself
    const Real* edge_features;    // (indptr[n], F)
    // The readout's, null for `encode`:
    const Real* query;          // (d,)
    const std::int32_t* hops;   // (n,) >= 0, clamped to num_hop_biases - 1
    const Real* node_features;  // (n, G)

    std::size_t num_edges() const { return static_cast<std::size_t>(indptr[num_nodes]); }
};

// The weights of one moment: immutable, so that a call in flight keeps its own while others are set.
template <typename Real>
struct GraphAttentionWeights {
    struct PackedLayer {
        std::size_t w_qkv, w_o;  // offsets in `packed`
    };
    AlignedBuffer<Real> flat;
    AlignedBuffer<Real> packed;  // the layers' projections as matmul_packed takes them; empty in float64
    std::vector<PackedLayer> layers;
};

// What a forward pass computed, kept for the backward pass and for those who want to look at it. It points into the
// subgraph's arrays. A tape used again keeps its memory.
template <typename Real>
struct GraphAttentionTape {
    struct Layer {
        Real *qkv, *edge_weights, *self_weights;      // (n, 3, H, p/H), (num_edges, H), (n, H)
        Real *context, *normalized, *inverse_std;     // (n, p), (n, d), (n,)
        Real* states;                                 // (n, d), the nodes after this layer
    };
    Subgraph<Real> graph;
    std::shared_ptr<const GraphAttentionWeights<Real>> weights;
    std::vector<Layer> layers;
    const Real* states;  // (n, d), the nodes after the last layer
    Real* query;         // (p,) the projected query / sqrt(p/H)
    Real* folded;        // (H, d) the projected query seen through W_k, head by head
    Real* attention;     // (n, H) weights of the readout
    Real* pooled;        // (H, d) sum_i a_hi states_i
    Real* values;        // (p,) pooled, projected
    AlignedBuffer<Real> memory;
};

// Gradients that `backward` writes; every pointer is set.
template <typename Real>
struct GraphAttentionGradients {
    Real* parameters;     // (layout.size(),), laid out like the parameters
    Real* nodes;          // (n, d)
    Real* edge_features;  // (num_edges, F)
    Real* query;          // (d,)
    Real* node_features;  // (n, G)
};

// Layer l, for nodes H (n, d), head by head, and then over all heads:
//   [Q K V] = H W_qkv^T,   C = edge attention of Q, K, V with bias_ij = edge_features_ij edge_bias, bias_ii = self_bias
//   H <- layer norm of (H + C W_o), times gamma, plus beta
// Readout of a query vector x from the last H, with a_h a softmax over the nodes:
//   q = W_q x / sqrt(p/H),   u_h = q_h W_k[h],   s_hi = u_h . H_i + hop_bias[hop_i, h] + (node_features_i node_bias)_h
//   weights_i = mean_h a_hi,   attended = concat_h(W_v[h] sum_i a_hi H_i) W_o
// K and V of the readout serve one query, so W_k is folded into q and W_v applied to the pooled vector: the cost is the
// reading of the weights and O(n H d), not O(n p d).
//
// Several threads may call at once. Real is float, or double for gradient checks (the scalar definitions only).
template <typename Real>
class GraphAttention {
  public:
    using Tape = GraphAttentionTape<Real>;

    explicit GraphAttention(const GraphAttentionSizes& sizes);  // every parameter zero, gamma one

    const GraphAttentionSizes& sizes() const { return sizes_; }
    const GraphAttentionLayout& layout() const { return layout_; }

    // Copies layout().size() values in or out. Setting also packs; calls in flight keep the weights they started with.
    void set_params(const Real* flat);
    void params(Real* flat) const;

    // The passes throw std::invalid_argument when numbers overflow on the way, and write what is of no use then.
    //
    // The layers alone.
    //   out  (n, d), out
    void encode(const Subgraph<Real>& graph, Real* out) const;

    // Layers and readout.
    //   weights   (n,), out; sums to 1
    //   attended  (d,), out
    // The first form uses scratch memory of the calling thread.
    void forward(const Subgraph<Real>& graph, Real* weights, Real* attended) const;
    void forward(const Subgraph<Real>& graph, Tape& tape, Real* weights, Real* attended) const;

    // Gradients of a loss from those of its inputs `weights` (n,) and `attended` (d,); a null one counts as zero. The
    // gradients are of the weights the tape was made with. Allocates.
    void backward(const Tape& tape, const Real* grad_weights, const Real* grad_attended,
                  const GraphAttentionGradients<Real>& gradients) const;

  private:
    using Weights = GraphAttentionWeights<Real>;

    std::shared_ptr<const Weights> current_weights() const;
    void start(const Subgraph<Real>& graph, bool with_readout, Tape& tape) const;
    void run_layers(Tape& tape) const;
    void read_out(Tape& tape, Real* weights, Real* attended) const;

    GraphAttentionSizes sizes_;
    GraphAttentionLayout layout_;
    mutable std::mutex mutex_;  // guards weights_
    std::shared_ptr<const Weights> weights_;
};

// Writes the indices of `weights` (n,), finite, the largest weight first, of equal ones the lower index, into ranking (n,).
template <typename Real>
void rank(const Real* weights, std::size_t n, std::int64_t* ranking);

extern template class GraphAttention<float>;
extern template class GraphAttention<double>;

}  // namespace ruvllm::engines
