// What stands between the matrix products of a transformer: norms, rotary positions, activations, softmax, the gated
// short convolution. Rows are float32, `ld*` entries apart; sums are float32, a vector of partial ones at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

enum class Activation { gelu, gelu_tanh, relu };

// out = gamma x / sqrt(mean(x^2) + eps), row by row (Zhang and Sennrich 2019). `out` may be `x`.
RUVLLM_KERNEL(void rms_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, float eps,
                            float* out, std::size_t ldo))

// out = gamma (x - mean) / sqrt(variance + eps) + beta, row by row (Ba et al. 2016). `out` may be `x`.
RUVLLM_KERNEL(void layer_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma,
                              const float* beta, float eps, float* out, std::size_t ldo))

// Rotary positions (Su et al. 2021) in the half-rotation form, in place: of each of num_heads vectors that follow each
// other, entry j rotates with entry j + head_dim / 2.
//   cosines, sines  (head_dim / 2,) of this row's position
RUVLLM_KERNEL(void rotate_halves(float* x, std::size_t num_heads, std::size_t head_dim, const float* cosines,
                                 const float* sines))

// gate = gate sigmoid(gate) * up, in place.
RUVLLM_KERNEL(void silu_multiply(float* gate, const float* up, std::size_t ld, std::size_t m, std::size_t n))

// x = f(x), in place: x Phi(x) within 3e-7 |x|, its tanh form, or max(x, 0).
RUVLLM_KERNEL(void activate(Activation f, float* x, std::size_t ld, std::size_t m, std::size_t n))

// Softmax over the first counts[i] >= 1 of the n entries of row i, in place; the others become 0. A row's bits depend on
// neither n nor the other rows.
RUVLLM_KERNEL(void softmax_rows(float* scores, std::size_t ld, std::size_t m, std::size_t n, const std::size_t* counts))

// log(sum(exp(x))) of n > 0 entries, finite or -infinity and one of them finite.
RUVLLM_KERNEL(float log_sum_exp(const float* x, std::size_t n))

// out = exp((x - most) / temperature) for n entries of at most `most`, finite or -infinity; temperature > 0.
RUVLLM_KERNEL(void exp_weights(const float* x, std::size_t n, float most, float temperature, float* out))

// Entry i with the largest x[i], the first among equals; n > 0.
RUVLLM_KERNEL(std::size_t argmax(const float* x, std::size_t n))

// The gated short convolution of LFM2 on m tokens. projected = [B | C | z], each h wide: u = B z,
// y_t = sum_j taps[j] u_(t - width + 1 + j) [+ bias], out = C y.
//   taps     (width, h): the last belongs to the current token
//   bias     (h,) or null
//   history  (width - 1 + m, h): the first width - 1 rows are u before the first token; the others are filled in
RUVLLM_KERNEL(void short_conv(const float* projected, std::size_t ldp, std::size_t m, std::size_t h, const float* taps,
                              std::size_t width, const float* bias, float* history, float* out, std::size_t ldo))

}  // namespace ruvllm::kernels
