// One training step of a small model over flat buffers: elastic weight consolidation (Kirkpatrick et al. 2017,
// arXiv:1612.00796), clipping by the global norm, and Adam with decoupled weight decay (Loshchilov and Hutter 2019,
// arXiv:1711.05101). In float32, with variants, and in double, where it is the definition.
//   penalty  (ewc_lambda / 2) sum_i F_i (theta_i - theta*_i)^2      the 1/2 is outside lambda
//   total    g_i + ewc_lambda F_i (theta_i - theta*_i)
#pragma once

#include <cstddef>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// What a step reads; all (n,). `fisher_diagonal` and `anchor_params` are both null where there is no consolidation.
template <typename Real>
struct TrainingGradient {
    const Real* gradient;
    const Real* fisher_diagonal;
    const Real* anchor_params;
    Real ewc_lambda;
};

// Sums in double over pieces in Real.
struct GradientSums {
    double penalty;
    double square_norm;  // of the total gradient
};

RUVLLM_KERNEL(GradientSums gradient_sums(const TrainingGradient<float>& gradient, const float* params, std::size_t n))
GradientSums gradient_sums(const TrainingGradient<double>& gradient, const double* params, std::size_t n);

// The scalars of one update, bias corrections included:
//   learning_rate / (1 - beta_1^step), sqrt(1 - beta_2^step), 1 - learning_rate weight_decay
template <typename Real>
struct AdamWScalars {
    Real clip;  // <= 1, factor on the total gradient
    Real beta_1, beta_2, epsilon;
    Real corrected_rate, second_correction, decay;
};

// With g the clipped total gradient, in place over params, first_moment m and second_moment v, all (n,):
//   m = beta_1 m + (1 - beta_1) g         v = beta_2 v + (1 - beta_2) g g
//   theta = decay theta - corrected_rate m / (sqrt(v) / second_correction + epsilon)
RUVLLM_KERNEL(void adamw_update(const TrainingGradient<float>& gradient, const AdamWScalars<float>& scalars,
                                std::size_t n, float* params, float* first_moment, float* second_moment))
void adamw_update(const TrainingGradient<double>& gradient, const AdamWScalars<double>& scalars, std::size_t n,
                  double* params, double* first_moment, double* second_moment);

// Whether every one of n values is finite and >= `least`.
RUVLLM_KERNEL(bool all_finite_from(float least, const float* values, std::size_t n))
bool all_finite_from(double least, const double* values, std::size_t n);

}  // namespace ruvllm::kernels
