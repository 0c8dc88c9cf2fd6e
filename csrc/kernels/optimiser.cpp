#include "kernels/optimiser.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

GradientSums gradient_sums(const TrainingGradient<float>& gradient, const float* params, std::size_t n) {
    return RUVLLM_DISPATCH(gradient_sums)(gradient, params, n);
}

void adamw_update(const TrainingGradient<float>& gradient, const AdamWScalars<float>& scalars, std::size_t n,
                  float* params, float* first_moment, float* second_moment) {
    RUVLLM_DISPATCH(adamw_update)(gradient, scalars, n, params, first_moment, second_moment);
}

bool all_finite_from(float least, const float* values, std::size_t n) {
    return RUVLLM_DISPATCH(all_finite_from)(least, values, n);
}

}  // namespace ruvllm::kernels
