#include "kernels/transformer.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void rms_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, float eps, float* out,
              std::size_t ldo) {
    RUVLLM_DISPATCH(rms_norm)(x, ldx, m, n, gamma, eps, out, ldo);
}

void layer_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, const float* beta,
                float eps, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(layer_norm)(x, ldx, m, n, gamma, beta, eps, out, ldo);
}

void rotate_halves(float* x, std::size_t num_heads, std::size_t head_dim, const float* cosines, const float* sines) {
    RUVLLM_DISPATCH(rotate_halves)(x, num_heads, head_dim, cosines, sines);
}

void silu_multiply(float* gate, const float* up, std::size_t ld, std::size_t m, std::size_t n) {
    RUVLLM_DISPATCH(silu_multiply)(gate, up, ld, m, n);
}

void activate(Activation f, float* x, std::size_t ld, std::size_t m, std::size_t n) {
    RUVLLM_DISPATCH(activate)(f, x, ld, m, n);
}

void softmax_rows(float* scores, std::size_t ld, std::size_t m, std::size_t n, const std::size_t* counts) {
    RUVLLM_DISPATCH(softmax_rows)(scores, ld, m, n, counts);
}

float log_sum_exp(const float* x, std::size_t n) { return RUVLLM_DISPATCH(log_sum_exp)(x, n); }

void exp_weights(const float* x, std::size_t n, float most, float temperature, float* out) {
    RUVLLM_DISPATCH(exp_weights)(x, n, most, temperature, out);
}

std::size_t argmax(const float* x, std::size_t n) { return RUVLLM_DISPATCH(argmax)(x, n); }

void short_conv(const float* projected, std::size_t ldp, std::size_t m, std::size_t h, const float* taps,
                std::size_t width, const float* bias, float* history, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(short_conv)(projected, ldp, m, h, taps, width, bias, history, out, ldo);
}

}  // namespace ruvllm::kernels
