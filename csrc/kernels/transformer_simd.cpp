// The same steps, a vector of a row at a time.
#include "kernels/simd.hpp"
#include "kernels/transformer.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

// f(place, mask) over the n entries of a row; the last mask may be partial.
template <typename F>
inline __attribute__((always_inline)) void each(std::size_t n, F f) {
    const Mask all = first_lanes(kLanes);
    std::size_t j = 0;
    for (; j + kLanes <= n; j += kLanes) f(j, all);
    if (j < n) f(j, first_lanes(n - j));
}

// Sum of f(place, mask) over a row, four partial sums at a time; f is 0 in lanes outside its mask.
template <typename F>
inline __attribute__((always_inline)) float sum_of(std::size_t n, F f) {
    const Mask all = first_lanes(kLanes);
    F32 acc[4] = {zeros(), zeros(), zeros(), zeros()};
    std::size_t j = 0;
    for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
        for (std::size_t i = 0; i < 4; ++i) acc[i] = add(acc[i], f(j + i * kLanes, all));
    }
    for (; j + kLanes <= n; j += kLanes) acc[0] = add(acc[0], f(j, all));
    if (j < n) acc[1] = add(acc[1], f(j, first_lanes(n - j)));
    return sum(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
}

inline float largest_of(const float* x, std::size_t n) {
    F32 best = set(-__builtin_inff());
    std::size_t j = 0;
    for (; j + kLanes <= n; j += kLanes) best = max(best, load(x + j));
    if (j < n) best = select(first_lanes(n - j), max(best, load(x + j, first_lanes(n - j))), best);
    return largest(best);
}

// Phi(x) = 1/2 erfc(-x / sqrt 2); erf by Abramowitz and Stegun 1964, 7.1.26, within 1.5e-7.
inline F32 gelu(F32 x) {
    const F32 a = abs(mul(x, set(0.70710678f))), t = reciprocal(fma(set(0.3275911f), a, set(1.0f)));
    F32 p = set(1.061405429f);
    p = fma(p, t, set(-1.453152027f));
    p = fma(p, t, set(1.421413741f));
    p = fma(p, t, set(-0.284496736f));
    p = mul(fma(p, t, set(0.254829592f)), t);
    const F32 tail = mul(mul(p, set(0.5f)), exp(sub(zeros(), mul(a, a))));  // 1/2 erfc(|x| / sqrt 2)
    return mul(x, select(is_less(x, zeros()), tail, sub(set(1.0f), tail)));
}
inline F32 gelu_tanh(F32 x) {
    const F32 inner = mul(set(0.79788456f), fma(mul(set(0.044715f), mul(x, x)), x, x));
    return mul(mul(set(0.5f), x), add(set(1.0f), tanh(inner)));
}

}  // namespace

void rms_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, float eps, float* out,
              std::size_t ldo) {
    for (std::size_t i = 0; i < m; ++i, x += ldx, out += ldo) {
        const float squares = sum_of(n, [&](std::size_t j, Mask mask) {
            const F32 v = load(x + j, mask);
            return mul(v, v);
        });
        const F32 inverse = set(1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps));
        each(n, [&](std::size_t j, Mask mask) {
            store(out + j, mul(mul(load(x + j, mask), inverse), load(gamma + j, mask)), mask);
        });
    }
}

void layer_norm(const float* x, std::size_t ldx, std::size_t m, std::size_t n, const float* gamma, const float* beta,
                float eps, float* out, std::size_t ldo) {
    for (std::size_t i = 0; i < m; ++i, x += ldx, out += ldo) {
        const float total = sum_of(n, [&](std::size_t j, Mask mask) { return load(x + j, mask); });
        const F32 mean = set(total / static_cast<float>(n));
        const float squares = sum_of(n, [&](std::size_t j, Mask mask) {
            const F32 v = select(mask, sub(load(x + j, mask), mean), zeros());
            return mul(v, v);
        });
        const F32 inverse = set(1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps));
        each(n, [&](std::size_t j, Mask mask) {
            const F32 v = mul(sub(load(x + j, mask), mean), inverse);
            store(out + j, fma(v, load(gamma + j, mask), load(beta + j, mask)), mask);
        });
    }
}

void rotate_halves(float* x, std::size_t num_heads, std::size_t head_dim, const float* cosines, const float* sines) {
    const std::size_t half = head_dim / 2;
    for (std::size_t head = 0; head < num_heads; ++head, x += head_dim) {
        each(half, [&](std::size_t j, Mask mask) {
            const F32 a = load(x + j, mask), b = load(x + j + half, mask);
            const F32 c = load(cosines + j, mask), s = load(sines + j, mask);
            store(x + j, fnma(b, s, mul(a, c)), mask);
            store(x + j + half, fma(a, s, mul(b, c)), mask);
        });
    }
}

void silu_multiply(float* gate, const float* up, std::size_t ld, std::size_t m, std::size_t n) {
    for (std::size_t i = 0; i < m; ++i, gate += ld, up += ld) {
        each(n, [&](std::size_t j, Mask mask) {
            const F32 g = max(set(-87.3f), load(gate + j, mask));  // below, g sigmoid(g) is less than 2e-36; NaNs stay
            const F32 e = exp(sub(zeros(), g));
            store(gate + j, mul(mul(g, reciprocal(add(set(1.0f), e))), load(up + j, mask)), mask);
        });
    }
}

void activate(Activation f, float* x, std::size_t ld, std::size_t m, std::size_t n) {
    for (std::size_t i = 0; i < m; ++i, x += ld) {
        each(n, [&](std::size_t j, Mask mask) {
            const F32 v = load(x + j, mask);
            store(x + j, f == Activation::gelu ? gelu(v) : f == Activation::gelu_tanh ? gelu_tanh(v) : max(zeros(), v),
                  mask);
        });
    }
}

void softmax_rows(float* scores, std::size_t ld, std::size_t m, std::size_t n, const std::size_t* counts) {
    for (std::size_t i = 0; i < m; ++i, scores += ld) {
        const std::size_t count = counts[i];
        const F32 most = set(largest_of(scores, count));
        const float total = sum_of(count, [&](std::size_t j, Mask mask) {
            const F32 e = select(mask, exp(sub(load(scores + j, mask), most)), zeros());
            store(scores + j, e, mask);
            return e;
        });
        const F32 share = set(1.0f / total);
        each(count, [&](std::size_t j, Mask mask) { store(scores + j, mul(load(scores + j, mask), share), mask); });
        each(n - count, [&](std::size_t j, Mask mask) { store(scores + count + j, zeros(), mask); });
    }
}

float log_sum_exp(const float* x, std::size_t n) {
    const float most = largest_of(x, n);
    const float total = sum_of(n, [&](std::size_t j, Mask mask) {
        return select(mask, exp(sub(load(x + j, mask), set(most))), zeros());
    });
    return most + __builtin_logf(total);
}

void exp_weights(const float* x, std::size_t n, float most, float temperature, float* out) {
    each(n, [&](std::size_t j, Mask mask) {
        store(out + j, exp(div(sub(load(x + j, mask), set(most)), set(temperature))), mask);
    });
}

std::size_t argmax(const float* x, std::size_t n) {
    const float most = largest_of(x, n);
    for (std::size_t i = 0; i < n; ++i) {
        if (x[i] == most) return i;
    }
    return 0;  // a NaN
}

void short_conv(const float* projected, std::size_t ldp, std::size_t m, std::size_t h, const float* taps,
                std::size_t width, const float* bias, float* history, float* out, std::size_t ldo) {
    for (std::size_t t = 0; t < m; ++t, history += h, projected += ldp, out += ldo) {
        const float *b = projected, *c = projected + h, *z = projected + 2 * h;
        each(h, [&](std::size_t i, Mask mask) {
            const F32 u = mul(load(b + i, mask), load(z + i, mask));
            store(history + (width - 1) * h + i, u, mask);
            F32 y = bias == nullptr ? zeros() : load(bias + i, mask);
            for (std::size_t j = 0; j + 1 < width; ++j) {
                y = fma(load(taps + j * h + i, mask), load(history + j * h + i, mask), y);
            }
            y = fma(load(taps + (width - 1) * h + i, mask), u, y);
            store(out + i, mul(load(c + i, mask), y), mask);
        });
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
