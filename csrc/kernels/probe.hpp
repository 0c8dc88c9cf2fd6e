// What this machine can do at most: the ceilings that benchmarks are held against.
#pragma once

#include <cstddef>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

inline constexpr std::size_t kProbeChains = 192;  // fills the registers of every instruction set, once or twice

// Sum of `values` (n,) float32, in no stated order: every byte is read once, and nothing else is slow.
RUVLLM_KERNEL(float read_all(const float* values, std::size_t n))

// Replaces every x of `values` (kProbeChains,) by a x + b, `steps` times over: 2 kProbeChains float32 operations a step,
// in independent chains, long enough apart to hide the latency of a multiply-add. With |a| < 1 nothing overflows.
RUVLLM_KERNEL(void multiply_add(float* values, std::size_t steps, float a, float b))

}  // namespace ruvllm::kernels
