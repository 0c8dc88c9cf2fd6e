// The definition.
#include <algorithm>
#include <cmath>

#include "kernels/transformer.hpp"

namespace ruvllm::kernels::scalar {
namespace {

float gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }
float gelu_tanh(float x) { return 0.5f * x * (1.0f + std::tanh(0.79788456f * (x + 0.044715f * x * x * x))); }

}  // namespace

void rms_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, float eps, float* out,
              std::size_t ldo) {
    for (std::size_t i = 0; i < m; ++i, x += ldx, out += ldo) {
        float squares = 0.0f;
        for (std::size_t j = 0; j < n; ++j) squares += x[j] * x[j];
        const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
        for (std::size_t j = 0; j < n; ++j) out[j] = x[j] * inverse * gamma[j];
    }
}

void layer_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, const float* beta,
                float eps, float* out, std::size_t ldo) {
    for (std::size_t i = 0; i < m; ++i, x += ldx, out += ldo) {
        float total = 0.0f, squares = 0.0f;
        for (std::size_t j = 0; j < n; ++j) total += x[j];
        const float mean = total / static_cast<float>(n);
        for (std::size_t j = 0; j < n; ++j) squares += (x[j] - mean) * (x[j] - mean);
        const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
        for (std::size_t j = 0; j < n; ++j) out[j] = (x[j] - mean) * inverse * gamma[j] + beta[j];
    }
}

void rotate_halves(float* x, std::size_t num_heads, std::size_t head_dim, const float* cosines, const float* sines) {
    const std::size_t half = head_dim / 2;
    for (std::size_t head = 0; head < num_heads; ++head, x += head_dim) {
        for (std::size_t j = 0; j < half; ++j) {
            const float a = x[j], b = x[j + half];
            x[j] = a * cosines[j] - b * sines[j];
            x[j + half] = b * cosines[j] + a * sines[j];
        }
    }
}

void silu_multiply(float* gate, const float* up, std::size_t ld, std::size_t m, std::size_t n) {
    for (std::size_t i = 0; i < m; ++i, gate += ld, up += ld) {
        for (std::size_t j = 0; j < n; ++j) gate[j] = gate[j] / (1.0f + std::exp(-gate[j])) * up[j];
    }
}

void activate(Activation f, float* x, std::size_t ld, std::size_t m, std::size_t n) {
    for (std::size_t i = 0; i < m; ++i, x += ld) {
        for (std::size_t j = 0; j < n; ++j) {
            x[j] = f == Activation::gelu        ? gelu(x[j])
                   : f == Activation::gelu_tanh ? gelu_tanh(x[j])
                                                : std::max(x[j], 0.0f);
        }
    }
}

void softmax_rows(float* scores, std::size_t ld, std::size_t m, std::size_t n, const std::size_t* counts) {
    for (std::size_t i = 0; i < m; ++i, scores += ld) {
        const std::size_t count = counts[i];
        const float largest = *std::max_element(scores, scores + count);
        float total = 0.0f;
        for (std::size_t j = 0; j < count; ++j) {
            scores[j] = std::exp(scores[j] - largest);
            total += scores[j];
        }
        for (std::size_t j = 0; j < count; ++j) scores[j] /= total;
        std::fill(scores + count, scores + n, 0.0f);
    }
}

float log_sum_exp(const float* x, std::size_t n) {
    const float largest = *std::max_element(x, x + n);
    float total = 0.0f;
    for (std::size_t i = 0; i < n; ++i) total += std::exp(x[i] - largest);
    return largest + std::log(total);
}

void exp_weights(const float* x, std::size_t n, float most, float temperature, float* out) {
    for (std::size_t i = 0; i < n; ++i) out[i] = std::exp((x[i] - most) / temperature);
}

std::size_t argmax(const float* x, std::size_t n) { return static_cast<std::size_t>(std::max_element(x, x + n) - x); }

void short_conv(const float* projected, std::size_t ldp, std::size_t m, std::size_t h, const float* taps,
                std::size_t width, const float* bias, float* history, float* out, std::size_t ldo) {
    for (std::size_t t = 0; t < m; ++t, history += h, projected += ldp, out += ldo) {
        const float *b = projected, *c = projected + h, *z = projected + 2 * h;
        for (std::size_t i = 0; i < h; ++i) history[(width - 1) * h + i] = b[i] * z[i];
        for (std::size_t i = 0; i < h; ++i) {
            float y = bias == nullptr ? 0.0f : bias[i];
            for (std::size_t j = 0; j < width; ++j) y = std::fma(taps[j * h + i], history[j * h + i], y);
            out[i] = c[i] * y;
        }
    }
}

}  // namespace ruvllm::kernels::scalar
