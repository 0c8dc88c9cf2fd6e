// The definition, in float32 and in double.
#include <cmath>

#include "kernels/optimiser.hpp"

namespace ruvllm::kernels {
namespace {

template <typename Real>
Real total_gradient(const TrainingGradient<Real>& g, const Real* params, std::size_t i) {
    if (!g.fisher_diagonal) return g.gradient[i];
    return g.gradient[i] + g.ewc_lambda * g.fisher_diagonal[i] * (params[i] - g.anchor_params[i]);
}

template <typename Real>
GradientSums sums(const TrainingGradient<Real>& g, const Real* params, std::size_t n) {
    GradientSums result{0.0, 0.0};
    for (std::size_t i = 0; i < n; ++i) {
        const Real total = total_gradient(g, params, i);
        result.square_norm += static_cast<double>(total * total);
        if (!g.fisher_diagonal) continue;
        const Real distance = params[i] - g.anchor_params[i];
        result.penalty += 0.5 * static_cast<double>(g.ewc_lambda * g.fisher_diagonal[i] * distance * distance);
    }
    return result;
}

template <typename Real>
void update(const TrainingGradient<Real>& gradient, const AdamWScalars<Real>& s, std::size_t n, Real* params,
            Real* first_moment, Real* second_moment) {
    for (std::size_t i = 0; i < n; ++i) {
        const Real g = s.clip * total_gradient(gradient, params, i);
        const Real m = s.beta_1 * first_moment[i] + (1 - s.beta_1) * g;
        const Real v = s.beta_2 * second_moment[i] + (1 - s.beta_2) * g * g;
        params[i] = s.decay * params[i] - s.corrected_rate * m / (std::sqrt(v) / s.second_correction + s.epsilon);
        first_moment[i] = m;
        second_moment[i] = v;
    }
}

template <typename Real>
bool finite_from(Real least, const Real* values, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        if (!std::isfinite(values[i]) || values[i] < least) return false;
    }
    return true;
}

}  // namespace

namespace scalar {

GradientSums gradient_sums(const TrainingGradient<float>& gradient, const float* params, std::size_t n) {
    return sums(gradient, params, n);
}

void adamw_update(const TrainingGradient<float>& gradient, const AdamWScalars<float>& scalars, std::size_t n,
                  float* params, float* first_moment, float* second_moment) {
    update(gradient, scalars, n, params, first_moment, second_moment);
}

bool all_finite_from(float least, const float* values, std::size_t n) { return finite_from(least, values, n); }

}  // namespace scalar

GradientSums gradient_sums(const TrainingGradient<double>& gradient, const double* params, std::size_t n) {
    return sums(gradient, params, n);
}

void adamw_update(const TrainingGradient<double>& gradient, const AdamWScalars<double>& scalars, std::size_t n,
                  double* params, double* first_moment, double* second_moment) {
    update(gradient, scalars, n, params, first_moment, second_moment);
}

bool all_finite_from(double least, const double* values, std::size_t n) { return finite_from(least, values, n); }

}  // namespace ruvllm::kernels
