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

// Calls visit(c, lanes) for every vector of `size` values.
template <typename Visit>
void for_each_vector(std::size_t size, Visit visit) {
    std::size_t c = 0;
    for (; c + kLanes <= size; c += kLanes) visit(c, first_lanes(kLanes));
    if (c < size) visit(c, first_lanes(size - c));
}

Mask heads_from(std::size_t h, std::size_t num_heads) {
    return first_lanes(num_heads - h < kLanes ? num_heads - h : kLanes);
}

// Softmax over the n rows of `scores` (n, H) and one more row, `last`, unless it is null, in three steps: shift the
// largest to 0, take the powers (of as many rows at once as there are), divide by their sum.
void shift(std::size_t n, std::size_t num_heads, float* scores, float* last) {
    for (std::size_t h = 0; h < num_heads; h += kLanes) {
        const Mask heads = heads_from(h, num_heads);
        F32 largest = load((last ? last : scores) + h, heads);
        for (std::size_t i = 0; i < n; ++i) largest = max(largest, load(scores + i * num_heads + h, heads));
        const auto lower = [&](float* place) { store(place, sub(load(place, heads), largest), heads); };
        for (std::size_t i = 0; i < n; ++i) lower(scores + i * num_heads + h);
        if (last) lower(last + h);
    }
}

void take_powers(std::size_t size, float* scores) {
    for_each_vector(size, [&](std::size_t c, Mask lanes) { store(scores + c, exp(load(scores + c, lanes)), lanes); });
}

void divide(std::size_t n, std::size_t num_heads, float* powers, float* last) {
    for (std::size_t h = 0; h < num_heads; h += kLanes) {
        const Mask heads = heads_from(h, num_heads);
        F32 total = last ? load(last + h, heads) : zeros();
        for (std::size_t i = 0; i < n; ++i) total = add(total, load(powers + i * num_heads + h, heads));
        const F32 share = div(set(1.0f), total);
        const auto scale = [&](float* place) { store(place, mul(load(place, heads), share), heads); };
        for (std::size_t i = 0; i < n; ++i) scale(powers + i * num_heads + h);
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

// C_i = sum_j a_ij V_j for all nodes, kBlock vectors of a row at a time; a vector lies within one head.
void weigh_values(const EdgeAttention<float>& g, const float* edge_weights, const float* self_weights, float* context) {
    constexpr std::size_t kBlock = 4;
    const std::size_t heads = g.num_heads, dim = g.head_dim, width = heads * dim;
    for (std::size_t h = 0, c = 0; h < heads;) {
        std::size_t head[kBlock] = {}, place[kBlock] = {};
        Mask lanes[kBlock];
        for (std::size_t v = 0; v < kBlock; ++v) {
            lanes[v] = first_lanes(h == heads ? 0 : dim - c < kLanes ? dim - c : kLanes);
            if (h == heads) continue;  // nothing left: no lanes of vector 0
            head[v] = h;
            place[v] = h * dim + c;
            c += kLanes;
            if (c >= dim) {
                c = 0;
                ++h;
            }
        }
        for (std::size_t i = 0; i < g.num_nodes; ++i) {
            const Neighbours near(g, i);
            F32 acc[kBlock] = {zeros(), zeros(), zeros(), zeros()};
            for (std::size_t e = near.first; e <= near.last; ++e) {
                const float* value = g.qkv + (near.node(e) * 3 + 2) * width;
                const float* weights = near.row(edge_weights, self_weights, e, heads);
                for (std::size_t v = 0; v < kBlock; ++v) {
                    acc[v] = fma(set(weights[head[v]]), load(value + place[v], lanes[v]), acc[v]);
                }
            }
            for (std::size_t v = 0; v < kBlock; ++v) store(context + i * width + place[v], acc[v], lanes[v]);
        }
    }
}

// R rows side by side: their sums are independent chains.
template <std::size_t R>
void normalize_rows(const float* x, const float* gamma, const float* beta, std::size_t dim, float* z,
                    float* inverse_std, float* out) {
    const auto size = static_cast<float>(dim);
    F32 acc[R], mean[R], inverse[R];
    for (std::size_t r = 0; r < R; ++r) acc[r] = zeros();
    for_each_vector(dim, [&](std::size_t c, Mask lanes) {
        for (std::size_t r = 0; r < R; ++r) {
            const F32 y = add(load(x + r * dim + c, lanes), load(z + r * dim + c, lanes));
            acc[r] = add(acc[r], y);
            store(z + r * dim + c, y, lanes);
        }
    });
    for (std::size_t r = 0; r < R; ++r) {
        mean[r] = set(sum(acc[r]) / size);
        acc[r] = zeros();
    }
    for_each_vector(dim, [&](std::size_t c, Mask lanes) {
        for (std::size_t r = 0; r < R; ++r) {
            const F32 deviation = select(lanes, sub(load(z + r * dim + c, lanes), mean[r]), zeros());
            acc[r] = fma(deviation, deviation, acc[r]);
        }
    });
    for (std::size_t r = 0; r < R; ++r) {
        inverse[r] = div(set(1.0f), sqrt(set(sum(acc[r]) / size + static_cast<float>(kNormEpsilon))));
        store(inverse_std + r, inverse[r], first_lanes(1));
    }
    for_each_vector(dim, [&](std::size_t c, Mask lanes) {
        const F32 factor = load(gamma + c, lanes), shift = load(beta + c, lanes);
        for (std::size_t r = 0; r < R; ++r) {
            const F32 normal = mul(sub(load(z + r * dim + c, lanes), mean[r]), inverse[r]);
            store(z + r * dim + c, normal, lanes);
            store(out + r * dim + c, fma(factor, normal, shift), lanes);
        }
    });
}

}  // namespace

// One step for all nodes before the next: what a step stores has left the store queue when the next one loads it.
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
    }
    for (std::size_t i = 0; i < g.num_nodes; ++i) {
        const Neighbours near(g, i);
        shift(near.last - near.first, heads, edge_weights + near.first * heads, self_weights + i * heads);
    }
    take_powers(static_cast<std::size_t>(g.indptr[g.num_nodes]) * heads, edge_weights);
    take_powers(g.num_nodes * heads, self_weights);
    for (std::size_t i = 0; i < g.num_nodes; ++i) {
        const Neighbours near(g, i);
        divide(near.last - near.first, heads, edge_weights + near.first * heads, self_weights + i * heads);
    }
    weigh_values(g, edge_weights, self_weights, context);
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

void softmax_columns(std::size_t n, std::size_t num_heads, float* scores) {
    shift(n, num_heads, scores, nullptr);
    take_powers(n * num_heads, scores);
    divide(n, num_heads, scores, nullptr);
}

void softmax_columns_backward(const float* weights, std::size_t n, std::size_t num_heads, float* grad) {
    softmax_backward(weights, nullptr, n, num_heads, grad, nullptr);
}

void add_and_normalize(const float* x, const float* gamma, const float* beta, std::size_t n, std::size_t dim,
                       float* normalized, float* inverse_std, float* out) {
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        normalize_rows<4>(x + i * dim, gamma, beta, dim, normalized + i * dim, inverse_std + i, out + i * dim);
    }
    for (; i < n; ++i) {
        normalize_rows<1>(x + i * dim, gamma, beta, dim, normalized + i * dim, inverse_std + i, out + i * dim);
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
