// Enough loads, and enough multiply-adds, in flight at once to keep the memory and the arithmetic units full.
#include "kernels/probe.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {

float read_all(const float* values, std::size_t n) {
    constexpr std::size_t kSums = 8;
    F32 acc[kSums];
    for (F32& part : acc) part = zeros();
    std::size_t i = 0;
    for (; i + kSums * kLanes <= n; i += kSums * kLanes) {
        for (std::size_t j = 0; j < kSums; ++j) acc[j] = add(acc[j], load(values + i + j * kLanes));
    }
    for (; i + kLanes <= n; i += kLanes) acc[0] = add(acc[0], load(values + i));
    if (i < n) acc[0] = add(acc[0], load(values + i, first_lanes(n - i)));
    for (std::size_t j = 1; j < kSums; ++j) acc[0] = add(acc[0], acc[j]);
    return sum(acc[0]);
}

void multiply_add(float* values, std::size_t steps, float a, float b) {
    constexpr std::size_t kChains = 12;  // vectors: two units with a latency of 4 or 5 need 8 to 10
    const F32 factor = set(a), term = set(b);
    for (std::size_t first = 0; first < kProbeChains; first += kChains * kLanes) {
        F32 x[kChains];
        for (std::size_t i = 0; i < kChains; ++i) x[i] = load(values + first + i * kLanes);
        for (std::size_t step = 0; step < steps; ++step) {
            for (std::size_t i = 0; i < kChains; ++i) x[i] = fma(factor, x[i], term);
        }
        for (std::size_t i = 0; i < kChains; ++i) store(values + first + i * kLanes, x[i]);
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
