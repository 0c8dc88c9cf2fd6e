// The definition.
#include <cstring>

#include "kernels/half.hpp"

namespace ruvllm::kernels::scalar {
namespace {

// Sign, 5 bits of exponent, 10 of mantissa. Shifted into the places of a float32 the value is 2^-112 of what it was,
// subnormal ones too; infinities and NaNs get the largest exponent.
float widen(std::uint16_t half) {
    std::uint32_t bits = (half & 0x7fffu) << 13;
    float value = 0.0f;
    std::memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    std::memcpy(&bits, &value, sizeof bits);
    if ((half & 0x7c00u) == 0x7c00u) bits |= 0x7f800000u;
    bits |= (half & 0x8000u) << 16;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

void widen_rows(const std::uint16_t* halves, const std::int64_t* rows, std::size_t num_rows, std::size_t dim,
                float* out) {
    for (std::size_t i = 0; i < num_rows; ++i) {
        const std::uint16_t* row = halves + (rows ? static_cast<std::size_t>(rows[i]) : i) * dim;
        for (std::size_t d = 0; d < dim; ++d) out[i * dim + d] = widen(row[d]);
    }
}

}  // namespace ruvllm::kernels::scalar
