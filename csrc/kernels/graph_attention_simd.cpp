// The steps of the definition with lanes over the dimensions of a head or of a row, and over the heads in a softmax.
#include "kernels/graph_attention.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

float dot(const float* a, const float* b, std::size_t n) {
    F32 acc = zeros();
    std::size_t c = 0;
    for (; c + kLanes <= n; c += kLanes) acc = fma(load(a + c), load(b + c), acc);
    if (c < n) {
        const Mask tail = first_lanes(n - c);
        acc = fma(load(a + c, tail), load(b + c, tail), acc);
    }
    return sum(acc);
}

// y += a x
void axpy(float a, const float* x, std::size_t n, float* y) {
    const F32 factor = set(a);
    std::size_t c = 0;
    for (; c + kLanes <= n; c += kLanes) store(y + c, fma(factor, load(x + c), load(y + c)));
    if (c < n) {
        const Mask tail = first_lanes(n - c);
        store(y + c, fma(factor, load(x + c, tail), load(y + c, tail)), tail);
    }
}

Mask heads_from(std::size_t h, std::size_t num_heads) {
    return first_lanes(num_heads - h < kLanes ? num_heads - h : kLanes);
}

// Softmax over the n rows of `scores` (n, H) and one more row, `last`, unless it is null.
void softmax(std::size_t n, std::size_t num_heads, float* scores, float* last) {
    for (std::size_t h = 0; h < num_heads; h += kLanes) {
        const Mask heads = heads_from(h, num_heads);
        F32 largest = load((last ? last : scores) + h, heads), total = zeros();
        for (std::size_t i = 0; i < n; ++i) largest = max(largest, load(scores + i * num_heads + h, heads));
        const auto power = [&](float* place) {
            const F32 e = exp(sub(load(place, heads), largest));
            total = add(total, e);
            store(place, e, heads);
        };
        for (std::size_t i = 0; i < n; ++i) power(scores + i * num_heads + h);
        if (last) power(last + h);
        const F32 share = div(set(1.0f), total);
        const auto scale = [&](float* place) { store(place, mul(load(place, heads), share), heads); };
        for (std::size_t i = 0; i < n; ++i) scale(scores + i * num_heads + h);
        if (last) scale(last + h);
    }
}

void softmax_backward(const float* weights, const float* last_weights, std::size_t n, std::size_t num_heads,
                      float* grad, float* last_grad) {
    for (std::size_t h = 0; h < num_heads; h += kLanes) {
        const Mask heads = heads_from(h, num_heads);
        F32 mean = zeros();  // of dL/da under the weights
        const auto weigh = [&](const float* a, const float* g) { mean = fma(load(a, heads), load(g, heads), mean); };
        if (last_weights) weigh(last_weights + h, last_grad + h);
        for (std::size_t i = 0; i < n; ++i) weigh(weights + i * num_heads + h, grad + i * num_heads + h);
        const auto finish = [&](const float* a, float* g) {
            store(g, mul(load(a, heads), sub(load(g, heads), mean)), heads);
        };
        for (std::size_t i = 0; i < n; ++i) finish(weights + i * num_heads + h, grad + i * num_heads + h);
        if (last_weights) finish(last_weights + h, last_grad + h);
    }
}

// The nodes that node i attends to: those of its edges [first, last), then itself.
struct Neighbours {
    const std::int32_t* indices;
    std::size_t i, first, last;

    Neighbours(const EdgeAttention<float>& g, std::size_t node)
        : indices(g.indices), i(node), first(static_cast<std::size_t>(g.indptr[node])),
          last(static_cast<std::size_t>(g.indptr[node + 1])) {}
    std::size_t node(std::size_t e) const { return e < last ? static_cast<std::size_t>(indices[e]) : i; }
    // Row e of per-edge rows of H values, or row i of per-node rows.
    template <typename Float>
    Float* row(Float* edges, Float* nodes, std::size_t e, std::size_t num_heads) const {
        return e < last ? edges + e * num_heads : nodes + i * num_heads;
    }
};

// out = sum_j a_ij V_j of one head.
void weighted_sum(const EdgeAttention<float>& g, const Neighbours& near, const float* edge_weights,
                  const float* self_weights, std::size_t h, float* out) {
    const std::size_t heads = g.num_heads, dim = g.head_dim, width = heads * dim;
    for (std::size_t c = 0; c < dim; c += kLanes) {
        const Mask lanes = first_lanes(dim - c < kLanes ? dim - c : kLanes);
        F32 acc = zeros();
        for (std::size_t e = near.first; e <= near.last; ++e) {
            const float* value = g.qkv + (near.node(e) * 3 + 2) * width + h * dim + c;
            acc = fma(set(near.row(edge_weights, self_weights, e, heads)[h]), load(value, lanes), acc);
        }
        store(out + c, acc, lanes);
    }
}

}  // namespace

void edge_attention(const EdgeAttention<float>& g, float* edge_weights, float* self_weights, float* context) {
    const std::size_t heads = g.num_heads, dim = g.head_dim, width = heads * dim;
    for (std::size_t i = 0; i < g.num_nodes; ++i) {
        const Neighbours near(g, i);
        const float* query = g.qkv + i * 3 * width;
        for (std::size_t e = near.first; e <= near.last; ++e) {
            const float* key = g.qkv + (near.node(e) * 3 + 1) * width;
            const float* bias = e < near.last ? edge_weights + e * heads : g.self_bias;
            float* scores = near.row(edge_weights, self_weights, e, heads);
            for (std::size_t h = 0; h < heads; ++h) {
                scores[h] = bias[h] + dot(query + h * dim, key + h * dim, dim) * g.scale;
            }
        }
        softmax(near.last - near.first, heads, edge_weights + near.first * heads, self_weights + i * heads);
        for (std::size_t h = 0; h < heads; ++h) {
            weighted_sum(g, near, edge_weights, self_weights, h, context + i * width + h * dim);
        }
    }
}

void edge_attention_backward(const EdgeAttention<float>& g, const float* edge_weights, const float* self_weights,
                             const float* grad_context, float* grad_edge_scores, float* grad_self_scores,
                             float* grad_qkv) {
    const std::size_t heads = g.num_heads, dim = g.head_dim, width = heads * dim;
    for (std::size_t i = 0; i < g.num_nodes; ++i) {
        const Neighbours near(g, i);
        const float* grad_out = grad_context + i * width;
        for (std::size_t e = near.first; e <= near.last; ++e) {
            const std::size_t at = (near.node(e) * 3 + 2) * width;
            const float* weights = near.row(edge_weights, self_weights, e, heads);
            float* grad_weights = near.row(grad_edge_scores, grad_self_scores, e, heads);
            for (std::size_t h = 0; h < heads; ++h) {
                grad_weights[h] = dot(grad_out + h * dim, g.qkv + at + h * dim, dim);
                axpy(weights[h], grad_out + h * dim, dim, grad_qkv + at + h * dim);
            }
        }
        softmax_backward(edge_weights + near.first * heads, self_weights + i * heads, near.last - near.first, heads,
                         grad_edge_scores + near.first * heads, grad_self_scores + i * heads);
        const float* query = g.qkv + i * 3 * width;
        float* grad_query = grad_qkv + i * 3 * width;
        for (std::size_t e = near.first; e <= near.last; ++e) {
            const std::size_t at = (near.node(e) * 3 + 1) * width;
            const float* grad_scores = near.row(grad_edge_scores, grad_self_scores, e, heads);
            for (std::size_t h = 0; h < heads; ++h) {
                axpy(grad_scores[h] * g.scale, g.qkv + at + h * dim, dim, grad_query + h * dim);
                axpy(grad_scores[h] * g.scale, query + h * dim, dim, grad_qkv + at + h * dim);
            }
        }
    }
}

void softmax_columns(std::size_t n, std::size_t num_heads, float* scores) { softmax(n, num_heads, scores, nullptr); }

void softmax_columns_backward(const float* weights, std::size_t n, std::size_t num_heads, float* grad) {
    softmax_backward(weights, nullptr, n, num_heads, grad, nullptr);
}

void add_and_normalize(const float* x, const float* gamma, const float* beta, std::size_t n, std::size_t dim,
                       float* normalized, float* inverse_std, float* out) {
    const auto size = static_cast<float>(dim);
    const auto for_each_vector = [dim](const auto& visit) {
        std::size_t c = 0;
        for (; c + kLanes <= dim; c += kLanes) visit(c, first_lanes(kLanes));
        if (c < dim) visit(c, first_lanes(dim - c));
    };
    for (std::size_t i = 0; i < n; ++i) {
        const float* x_row = x + i * dim;
        float *z = normalized + i * dim, *out_row = out + i * dim;
        F32 acc = zeros();
        for_each_vector([&](std::size_t c, Mask lanes) {
            const F32 y = add(load(x_row + c, lanes), load(z + c, lanes));
            acc = add(acc, y);
            store(z + c, y, lanes);
        });
        const F32 mean = set(sum(acc) / size);
        acc = zeros();
        for_each_vector([&](std::size_t c, Mask lanes) {
            const F32 deviation = select(lanes, sub(load(z + c, lanes), mean), zeros());
            acc = fma(deviation, deviation, acc);
        });
        const F32 variance = set(sum(acc) / size + static_cast<float>(kNormEpsilon));
        const F32 inverse = div(set(1.0f), sqrt(variance));
        store(inverse_std + i, inverse, first_lanes(1));
        for_each_vector([&](std::size_t c, Mask lanes) {
            const F32 normal = mul(sub(load(z + c, lanes), mean), inverse);
            store(z + c, normal, lanes);
            store(out_row + c, fma(load(gamma + c, lanes), normal, load(beta + c, lanes)), lanes);
        });
    }
}

void normalize_backward(const float* normalized, const float* inverse_std, const float* gamma, const float* grad_out,
                        std::size_t n, std::size_t dim, float* grad_gamma, float* grad_beta, float* grad_in) {
    const auto size = static_cast<float>(dim);
    for (std::size_t i = 0; i < n; ++i) {
        const float *z = normalized + i * dim, *grad = grad_out + i * dim;
        F32 acc = zeros(), acc_z = zeros();  // of dL/dz = gamma dL/dout, and of z dL/dz
        for (std::size_t c = 0; c < dim; c += kLanes) {
            const Mask lanes = first_lanes(dim - c < kLanes ? dim - c : kLanes);
            const F32 g = load(grad + c, lanes), normal = load(z + c, lanes), grad_z = mul(load(gamma + c, lanes), g);
            acc = add(acc, grad_z);
            acc_z = fma(grad_z, normal, acc_z);
            store(grad_gamma + c, fma(g, normal, load(grad_gamma + c, lanes)), lanes);
            store(grad_beta + c, add(g, load(grad_beta + c, lanes)), lanes);
        }
        const F32 mean = set(sum(acc) / size), mean_z = set(sum(acc_z) / size), inverse = set(inverse_std[i]);
        for (std::size_t c = 0; c < dim; c += kLanes) {
            const Mask lanes = first_lanes(dim - c < kLanes ? dim - c : kLanes);
            const F32 grad_z = mul(load(gamma + c, lanes), load(grad + c, lanes));
            const F32 centred = sub(sub(grad_z, mean), mul(load(z + c, lanes), mean_z));
            store(grad_in + i * dim + c, mul(inverse, centred), lanes);
        }
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
