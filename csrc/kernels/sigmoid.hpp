// The logistic function of the definitions.
#pragma once

#include <cmath>

namespace ruvllm::kernels {

// 1 / (1 + e^-x), from e^-|x|, so that nothing overflows.
template <typename Real>
Real sigmoid(Real x) {
    const Real e = std::exp(-std::fabs(x));
    return (x < 0 ? e : Real{1}) / (Real{1} + e);
}

}  // namespace ruvllm::kernels
