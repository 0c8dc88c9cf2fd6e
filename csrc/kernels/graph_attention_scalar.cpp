// The definition, in float32 and, for gradient checks, in float64.
#include "kernels/graph_attention.hpp"

#include <algorithm>
#include <cmath>

namespace ruvllm::kernels {
namespace {

template <typename Real>
Real dot(const Real* a, const Real* b, std::size_t n) {
    Real acc = 0;
    for (std::size_t c = 0; c < n; ++c) acc += a[c] * b[c];
    return acc;
}

// y += a x
template <typename Real>
void axpy(Real a, const Real* x, std::size_t n, Real* y) {
    for (std::size_t c = 0; c < n; ++c) y[c] += a * x[c];
}

// Softmax over the n rows of `scores` (n, H) and one more row, `last`, unless it is null.
template <typename Real>
void softmax(std::size_t n, std::size_t num_heads, Real* scores, Real* last) {
    for (std::size_t h = 0; h < num_heads; ++h) {
        Real largest = last ? last[h] : scores[h], total = 0;
        for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, scores[i * num_heads + h]);
        const auto power = [&](Real& score) { total += score = std::exp(score - largest); };
        for (std::size_t i = 0; i < n; ++i) power(scores[i * num_heads + h]);
        if (last) power(last[h]);
        for (std::size_t i = 0; i < n; ++i) scores[i * num_heads + h] /= total;
        if (last) last[h] /= total;
    }
}

template <typename Real>
void softmax_backward(const Real* weights, const Real* last_weights, std::size_t n, std::size_t num_heads, Real* grad,
                      Real* last_grad) {
    for (std::size_t h = 0; h < num_heads; ++h) {
        Real mean = last_weights ? last_weights[h] * last_grad[h] : 0;  // of dL/da under the weights
        for (std::size_t i = 0; i < n; ++i) mean += weights[i * num_heads + h] * grad[i * num_heads + h];
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t ih = i * num_heads + h;
            grad[ih] = weights[ih] * (grad[ih] - mean);
        }
        if (last_weights) last_grad[h] = last_weights[h] * (last_grad[h] - mean);
    }
}

// Calls visit(j, e) for every node j that i attends to: by its edges e, then by none (kSelf).
constexpr std::size_t kSelf = static_cast<std::size_t>(-1);
template <typename Real, typename Visit>
void for_each_neighbour(const EdgeAttention<Real>& g, std::size_t i, Visit visit) {
    const auto first = static_cast<std::size_t>(g.indptr[i]), last = static_cast<std::size_t>(g.indptr[i + 1]);
    for (std::size_t e = first; e < last; ++e) visit(static_cast<std::size_t>(g.indices[e]), e);
    visit(i, kSelf);
}

template <typename Real>
void attend(const EdgeAttention<Real>& g, Real* edge_weights, Real* self_weights, Real* context) {
    const std::size_t heads = g.num_heads, dim = g.head_dim, width = heads * dim;
    for (std::size_t i = 0; i < g.num_nodes; ++i) {
        Real* own = self_weights + i * heads;
        const auto row_of = [&](std::size_t e) { return e == kSelf ? own : edge_weights + e * heads; };
        const Real* query = g.qkv + i * 3 * width;
        std::copy_n(g.self_bias, heads, own);
        for_each_neighbour(g, i, [&](std::size_t j, std::size_t e) {
            const Real* key = g.qkv + (j * 3 + 1) * width;
            Real* scores = row_of(e);
            for (std::size_t h = 0; h < heads; ++h) scores[h] += dot(query + h * dim, key + h * dim, dim) * g.scale;
        });
        const auto first = static_cast<std::size_t>(g.indptr[i]), last = static_cast<std::size_t>(g.indptr[i + 1]);
        softmax(last - first, heads, edge_weights + first * heads, own);
        Real* out = context + i * width;
        std::fill_n(out, width, Real{0});
        for_each_neighbour(g, i, [&](std::size_t j, std::size_t e) {
            const Real* value = g.qkv + (j * 3 + 2) * width;
            const Real* weights = row_of(e);
            for (std::size_t h = 0; h < heads; ++h) axpy(weights[h], value + h * dim, dim, out + h * dim);
        });
    }
}

template <typename Real>
void attend_backward(const EdgeAttention<Real>& g, const Real* edge_weights, const Real* self_weights,
                     const Real* grad_context, Real* grad_edge_scores, Real* grad_self_scores, Real* grad_qkv) {
    const std::size_t heads = g.num_heads, dim = g.head_dim, width = heads * dim;
    for (std::size_t i = 0; i < g.num_nodes; ++i) {
        const Real *own = self_weights + i * heads, *grad_out = grad_context + i * width;
        Real* grad_own = grad_self_scores + i * heads;
        const auto grad_of = [&](std::size_t e) { return e == kSelf ? grad_own : grad_edge_scores + e * heads; };
        for_each_neighbour(g, i, [&](std::size_t j, std::size_t e) {
            const Real *weights = e == kSelf ? own : edge_weights + e * heads, *value = g.qkv + (j * 3 + 2) * width;
            Real *grad_weights = grad_of(e), *grad_value = grad_qkv + (j * 3 + 2) * width;
            for (std::size_t h = 0; h < heads; ++h) {
                grad_weights[h] = dot(grad_out + h * dim, value + h * dim, dim);
                axpy(weights[h], grad_out + h * dim, dim, grad_value + h * dim);
            }
        });
        const auto first = static_cast<std::size_t>(g.indptr[i]), last = static_cast<std::size_t>(g.indptr[i + 1]);
        softmax_backward(edge_weights + first * heads, own, last - first, heads, grad_edge_scores + first * heads,
                         grad_own);
        const Real* query = g.qkv + i * 3 * width;
        Real* grad_query = grad_qkv + i * 3 * width;
        for_each_neighbour(g, i, [&](std::size_t j, std::size_t e) {
            const Real *key = g.qkv + (j * 3 + 1) * width, *grad_scores = grad_of(e);
            Real* grad_key = grad_qkv + (j * 3 + 1) * width;
            for (std::size_t h = 0; h < heads; ++h) {
                axpy(grad_scores[h] * g.scale, key + h * dim, dim, grad_query + h * dim);
                axpy(grad_scores[h] * g.scale, query + h * dim, dim, grad_key + h * dim);
            }
        });
    }
}

template <typename Real>
void normalize(const Real* x, const Real* gamma, const Real* beta, std::size_t n, std::size_t dim, Real* normalized,
               Real* inverse_std, Real* out) {
    const auto size = static_cast<Real>(dim);
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t row = i * dim;
        Real* z = normalized + row;
        Real total = 0, squares = 0;
        for (std::size_t c = 0; c < dim; ++c) total += z[c] += x[row + c];
        const Real mean = total / size;
        for (std::size_t c = 0; c < dim; ++c) {
            z[c] -= mean;
            squares += z[c] * z[c];
        }
        inverse_std[i] = 1 / std::sqrt(squares / size + static_cast<Real>(kNormEpsilon));
        for (std::size_t c = 0; c < dim; ++c) {
            z[c] *= inverse_std[i];
            out[row + c] = gamma[c] * z[c] + beta[c];
        }
    }
}

template <typename Real>
void normalize_gradient(const Real* normalized, const Real* inverse_std, const Real* gamma, const Real* grad_out,
                        std::size_t n, std::size_t dim, Real* grad_gamma, Real* grad_beta, Real* grad_in) {
    const auto size = static_cast<Real>(dim);
    for (std::size_t i = 0; i < n; ++i) {
        const Real *z = normalized + i * dim, *grad = grad_out + i * dim;
        Real mean = 0, mean_z = 0;  // of dL/dz = gamma dL/dout, and of z dL/dz
        for (std::size_t c = 0; c < dim; ++c) {
            mean += gamma[c] * grad[c] / size;
            mean_z += gamma[c] * grad[c] * z[c] / size;
            grad_gamma[c] += grad[c] * z[c];
            grad_beta[c] += grad[c];
        }
        for (std::size_t c = 0; c < dim; ++c) {
            grad_in[i * dim + c] = inverse_std[i] * (gamma[c] * grad[c] - mean - z[c] * mean_z);
        }
    }
}

}  // namespace

void edge_attention(const EdgeAttention<double>& graph, double* edge_weights, double* self_weights, double* context) {
    attend(graph, edge_weights, self_weights, context);
}

void edge_attention_backward(const EdgeAttention<double>& graph, const double* edge_weights, const double* self_weights,
                             const double* grad_context, double* grad_edge_scores, double* grad_self_scores,
                             double* grad_qkv) {
    attend_backward(graph, edge_weights, self_weights, grad_context, grad_edge_scores, grad_self_scores, grad_qkv);
}

void softmax_columns(std::size_t n, std::size_t num_heads, double* scores) {
    softmax<double>(n, num_heads, scores, nullptr);
}

void softmax_columns_backward(const double* weights, std::size_t n, std::size_t num_heads, double* grad) {
    softmax_backward<double>(weights, nullptr, n, num_heads, grad, nullptr);
}

void add_and_normalize(const double* x, const double* gamma, const double* beta, std::size_t n, std::size_t dim,
                       double* normalized, double* inverse_std, double* out) {
    normalize(x, gamma, beta, n, dim, normalized, inverse_std, out);
}

void normalize_backward(const double* normalized, const double* inverse_std, const double* gamma,
                        const double* grad_out, std::size_t n, std::size_t dim, double* grad_gamma, double* grad_beta,
                        double* grad_in) {
    normalize_gradient(normalized, inverse_std, gamma, grad_out, n, dim, grad_gamma, grad_beta, grad_in);
}

namespace scalar {

void edge_attention(const EdgeAttention<float>& graph, float* edge_weights, float* self_weights, float* context) {
    attend(graph, edge_weights, self_weights, context);
}

void edge_attention_backward(const EdgeAttention<float>& graph, const float* edge_weights, const float* self_weights,
                             const float* grad_context, float* grad_edge_scores, float* grad_self_scores,
                             float* grad_qkv) {
    attend_backward(graph, edge_weights, self_weights, grad_context, grad_edge_scores, grad_self_scores, grad_qkv);
}

void softmax_columns(std::size_t n, std::size_t num_heads, float* scores) {
    softmax<float>(n, num_heads, scores, nullptr);
}

void softmax_columns_backward(const float* weights, std::size_t n, std::size_t num_heads, float* grad) {
    softmax_backward<float>(weights, nullptr, n, num_heads, grad, nullptr);
}

void add_and_normalize(const float* x, const float* gamma, const float* beta, std::size_t n, std::size_t dim,
                       float* normalized, float* inverse_std, float* out) {
    normalize(x, gamma, beta, n, dim, normalized, inverse_std, out);
}

void normalize_backward(const float* normalized, const float* inverse_std, const float* gamma, const float* grad_out,
                        std::size_t n, std::size_t dim, float* grad_gamma, float* grad_beta, float* grad_in) {
    normalize_gradient(normalized, inverse_std, gamma, grad_out, n, dim, grad_gamma, grad_beta, grad_in);
}

}  // namespace scalar
}  // namespace ruvllm::kernels
