#include "kernels/graph_attention.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void edge_attention(const EdgeAttention<float>& graph, float* edge_weights, float* self_weights, float* context) {
    RUVLLM_DISPATCH(edge_attention)(graph, edge_weights, self_weights, context);
}

void edge_attention_backward(const EdgeAttention<float>& graph, const float* edge_weights, const float* self_weights,
                             const float* grad_context, float* grad_edge_scores, float* grad_self_scores,
                             float* grad_qkv) {
    RUVLLM_DISPATCH(edge_attention_backward)
    (graph, edge_weights, self_weights, grad_context, grad_edge_scores, grad_self_scores, grad_qkv);
}

void softmax_columns(std::size_t n, std::size_t num_heads, float* scores) {
    RUVLLM_DISPATCH(softmax_columns)(n, num_heads, scores);
}

void softmax_columns_backward(const float* weights, std::size_t n, std::size_t num_heads, float* grad) {
    RUVLLM_DISPATCH(softmax_columns_backward)(weights, n, num_heads, grad);
}

void add_and_normalize(const float* x, const float* gamma, const float* beta, std::size_t n, std::size_t dim,
                       float* normalized, float* inverse_std, float* out) {
    RUVLLM_DISPATCH(add_and_normalize)(x, gamma, beta, n, dim, normalized, inverse_std, out);
}

void normalize_backward(const float* normalized, const float* inverse_std, const float* gamma, const float* grad_out,
                        std::size_t n, std::size_t dim, float* grad_gamma, float* grad_beta, float* grad_in) {
    RUVLLM_DISPATCH(normalize_backward)
    (normalized, inverse_std, gamma, grad_out, n, dim, grad_gamma, grad_beta, grad_in);
}

}  // namespace ruvllm::kernels
