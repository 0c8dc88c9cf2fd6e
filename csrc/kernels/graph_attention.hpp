// The arithmetic of edge-biased graph attention, apart from its projections (matmul.hpp). Everything is row-major; H is
// the number of heads, h a head, i and j nodes, p = H head_dim the width of a projection. Empty graphs are allowed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// One attention over the edges of a graph: row i of the CSR lists the nodes that i attends to, beside itself.
//   e_ij = Q_i . K_j / sqrt(head_dim) + bias_ij,   a_ij = softmax of e_ij over j in N(i) + {i},   C_i = sum_j a_ij V_j
template <typename Real>
struct EdgeAttention {
    std::size_t num_nodes, num_heads, head_dim;
    const std::int64_t* indptr;   // (num_nodes + 1,), ascending from 0
    const std::int32_t* indices;  // (indptr[num_nodes],) in [0, num_nodes)
    const Real* qkv;              // (num_nodes, 3, H, head_dim): Q, K and V of a node
    const Real* self_bias;        // (H,): bias_ii
    Real scale;                   // 1 / sqrt(head_dim)
};
//   edge_weights  (num_edges, H): on entry bias_ij, on return a_ij
//   self_weights  (num_nodes, H), out: a_ii; with the edges' weights of row i it sums to 1
//   context       (num_nodes, H, head_dim), out: C
RUVLLM_KERNEL(void edge_attention(const EdgeAttention<float>& graph, float* edge_weights, float* self_weights,
                                  float* context))
void edge_attention(const EdgeAttention<double>& graph, double* edge_weights, double* self_weights, double* context);

// Its gradients, from the weights it returned and dL/dC.
//   grad_edge_scores  (num_edges, H), out: dL/de_ij, which is dL/dbias_ij
//   grad_self_scores  (num_nodes, H), out: dL/de_ii; its sum over i is dL/dself_bias
//   grad_qkv          (num_nodes, 3, H, head_dim), zeros on entry, out
RUVLLM_KERNEL(void edge_attention_backward(const EdgeAttention<float>& graph, const float* edge_weights,
                                           const float* self_weights, const float* grad_context,
                                           float* grad_edge_scores, float* grad_self_scores, float* grad_qkv))
void edge_attention_backward(const EdgeAttention<double>& graph, const double* edge_weights, const double* self_weights,
                             const double* grad_context, double* grad_edge_scores, double* grad_self_scores,
                             double* grad_qkv);

// Softmax of every column of scores (n, H), in place; n >= 1. The maximum is subtracted first, so that no finite score
// overflows.
RUVLLM_KERNEL(void softmax_columns(std::size_t n, std::size_t num_heads, float* scores))
void softmax_columns(std::size_t n, std::size_t num_heads, double* scores);

// Its gradient, in place: on entry dL/da (n, H) with a the weights, on return dL/dscores = a (dL/da - sum of a dL/da
// over the column).
RUVLLM_KERNEL(void softmax_columns_backward(const float* weights, std::size_t n, std::size_t num_heads, float* grad))
void softmax_columns_backward(const double* weights, std::size_t n, std::size_t num_heads, double* grad);

// Layer normalisation of x + y (Ba et al. 2016, arXiv:1607.06450), per row; the variance is the mean square deviation.
//   x            (n, dim)
//   gamma, beta  (dim,)
//   normalized   (n, dim): on entry y, on return z = (x + y - mean) / sqrt(variance + kNormEpsilon)
//   inverse_std  (n,), out: 1 / sqrt(variance + kNormEpsilon)
//   out          (n, dim), out: gamma z + beta
inline constexpr double kNormEpsilon = 1e-5;
RUVLLM_KERNEL(void add_and_normalize(const float* x, const float* gamma, const float* beta, std::size_t n,
                                     std::size_t dim, float* normalized, float* inverse_std, float* out))
void add_and_normalize(const double* x, const double* gamma, const double* beta, std::size_t n, std::size_t dim,
                       double* normalized, double* inverse_std, double* out);

// Its gradients.
//   grad_out               (n, dim)
//   grad_gamma, grad_beta  (dim,): the sums over the rows are added to them
//   grad_in                (n, dim), out: dL/dx = dL/dy; may be grad_out itself
RUVLLM_KERNEL(void normalize_backward(const float* normalized, const float* inverse_std, const float* gamma,
                                      const float* grad_out, std::size_t n, std::size_t dim, float* grad_gamma,
                                      float* grad_beta, float* grad_in))
void normalize_backward(const double* normalized, const double* inverse_std, const double* gamma,
                        const double* grad_out, std::size_t n, std::size_t dim, double* grad_gamma, double* grad_beta,
                        double* grad_in);

}  // namespace ruvllm::kernels
