#include "kernels/probe.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

float read_all(const float* values, std::size_t n) { return RUVLLM_DISPATCH(read_all)(values, n); }

void multiply_add(float* values, std::size_t steps, float a, float b) {
    RUVLLM_DISPATCH(multiply_add)(values, steps, a, b);
}

}  // namespace ruvllm::kernels
