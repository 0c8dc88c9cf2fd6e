// The definition.
#include "kernels/probe.hpp"

namespace ruvllm::kernels::scalar {

float read_all(const float* values, std::size_t n) {
    constexpr std::size_t kSums = 16;  // float32: one sum would wait for itself
    float acc[kSums] = {};
    std::size_t i = 0;
    for (; i + kSums <= n; i += kSums) {
        for (std::size_t j = 0; j < kSums; ++j) acc[j] += values[i + j];
    }
    float total = 0.0f;
    for (; i < n; ++i) total += values[i];
    for (const float part : acc) total += part;
    return total;
}

void multiply_add(float* values, std::size_t steps, float a, float b) {
    constexpr std::size_t kChains = 48;  // what 16 registers of 4 lanes hold, with room for a and b
    for (std::size_t first = 0; first < kProbeChains; first += kChains) {
        float x[kChains];
        for (std::size_t i = 0; i < kChains; ++i) x[i] = values[first + i];
        for (std::size_t step = 0; step < steps; ++step) {
            for (std::size_t i = 0; i < kChains; ++i) x[i] = a * x[i] + b;
        }
        for (std::size_t i = 0; i < kChains; ++i) values[first + i] = x[i];
    }
}

}  // namespace ruvllm::kernels::scalar
