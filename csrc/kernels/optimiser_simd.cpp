// A lane is a parameter.
#include "kernels/optimiser.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

constexpr std::size_t kPiece = 256 * kLanes;  // numbers summed in float32 before the sum goes on in double

// Calls visit(first, load, store) over [first, last): whole vectors, then a masked tail whose other lanes read 0.
template <typename Visit>
void for_each_vector(std::size_t first, std::size_t last, Visit visit) {
    for (; first + kLanes <= last; first += kLanes) {
        visit(first, [](const float* p) { return load(p); }, [](float* p, F32 x) { store(p, x); });
    }
    if (first < last) {
        const Mask tail = first_lanes(last - first);
        visit(first, [=](const float* p) { return load(p, tail); }, [=](float* p, F32 x) { store(p, x, tail); });
    }
}

// What pulls a parameter back to its anchor, ewc_lambda F (theta - theta*), and the distance theta - theta*.
struct Pull {
    F32 force, distance;
};

template <typename Load>
Pull pull_at(const TrainingGradient<float>& g, F32 params, std::size_t i, Load get) {
    const F32 distance = sub(params, get(g.anchor_params + i));
    return {mul(mul(set(g.ewc_lambda), get(g.fisher_diagonal + i)), distance), distance};
}

}  // namespace

GradientSums gradient_sums(const TrainingGradient<float>& gradient, const float* params, std::size_t n) {
    GradientSums result{0.0, 0.0};
    for (std::size_t first = 0; first < n; first += kPiece) {
        F32 squares = zeros(), penalties = zeros();  // float32, at most 256 terms a lane
        const std::size_t last = first + kPiece < n ? first + kPiece : n;
        if (gradient.fisher_diagonal) {
            for_each_vector(first, last, [&](std::size_t i, auto get, auto) {
                const Pull pull = pull_at(gradient, get(params + i), i, get);
                const F32 total = add(get(gradient.gradient + i), pull.force);
                squares = fma(total, total, squares);
                penalties = fma(pull.force, pull.distance, penalties);
            });
        } else {
            for_each_vector(first, last, [&](std::size_t i, auto get, auto) {
                const F32 g = get(gradient.gradient + i);
                squares = fma(g, g, squares);
            });
        }
        result.square_norm += static_cast<double>(sum(squares));
        result.penalty += 0.5 * static_cast<double>(sum(penalties));
    }
    return result;
}

void adamw_update(const TrainingGradient<float>& gradient, const AdamWScalars<float>& s, std::size_t n, float* params,
                  float* first_moment, float* second_moment) {
    const F32 clip = set(s.clip), beta_1 = set(s.beta_1), beta_2 = set(s.beta_2), epsilon = set(s.epsilon);
    const F32 rest_1 = set(1.0f - s.beta_1), rest_2 = set(1.0f - s.beta_2);
    const F32 rate = set(s.corrected_rate), correction = set(1.0f / s.second_correction), decay = set(s.decay);
    const auto update = [&](std::size_t i, F32 theta, F32 total, auto get, auto put) {
        const F32 g = mul(clip, total);
        const F32 m = fma(beta_1, get(first_moment + i), mul(rest_1, g));
        const F32 v = fma(beta_2, get(second_moment + i), mul(rest_2, mul(g, g)));
        put(params + i, fnma(rate, div(m, fma(sqrt(v), correction, epsilon)), mul(decay, theta)));
        put(first_moment + i, m);
        put(second_moment + i, v);
    };
    if (gradient.fisher_diagonal) {
        for_each_vector(0, n, [&](std::size_t i, auto get, auto put) {
            const F32 theta = get(params + i);
            update(i, theta, add(get(gradient.gradient + i), pull_at(gradient, theta, i, get).force), get, put);
        });
    } else {
        for_each_vector(0, n, [&](std::size_t i, auto get, auto put) {
            update(i, get(params + i), get(gradient.gradient + i), get, put);
        });
    }
}

bool all_finite_from(float least, const float* values, std::size_t n) {
    F32 bad = zeros(), smallest = set(least);  // x * 0 is 0 for a finite x and NaN for the others
    for_each_vector(0, n, [&](std::size_t i, auto get, auto) {
        const F32 x = get(values + i);
        bad = fma(x, zeros(), bad);
        smallest = min(smallest, x);
    });
    return sum(bad) == 0.0f && -largest(sub(zeros(), smallest)) >= least;
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
