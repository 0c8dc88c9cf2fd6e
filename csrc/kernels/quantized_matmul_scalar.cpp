// The definition.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/half.hpp"
#include "kernels/quantized_matmul.hpp"

namespace ruvllm::kernels::scalar {
namespace {

void write(float value, bool add, float& place) { place = add ? place + value : value; }

}  // namespace

void quantize_rows(const float* x, std::size_t ldx, std::size_t m, std::size_t size, std::int8_t* values,
                   float* scales, std::int32_t* offsets, std::int32_t* sums) {
    const std::size_t k = padded_to(size, kGroup);
    for (std::size_t row = 0; row < m; ++row, x += ldx) {
        for (std::size_t first = 0; first < k; first += kGroup) {
            const std::size_t count = first < size ? std::min(kGroup, size - first) : 0;
            float largest = 0.0f;
            bool is_finite = true;
            for (std::size_t i = 0; i < count; ++i) {
                largest = std::max(largest, std::fabs(x[first + i]));
                is_finite = is_finite && std::isfinite(x[first + i]);
            }
            const float inverse = largest >= kLeast && is_finite ? 127.0f / largest : 0.0f;
            for (std::size_t i = 0; i < kGroup; ++i) {
                values[first + i] =
                    i < count && is_finite ? static_cast<std::int8_t>(std::nearbyint(x[first + i] * inverse)) : 0;
            }
            *scales++ = is_finite ? largest / 127.0f : NAN;
            for (std::size_t i = first; i < first + kGroup; i += kInt4Group) {
                std::int32_t sum = 0;
                for (std::size_t j = i; j < i + kInt4Group; ++j) sum += values[j];
                *sums++ = sum;
            }
            *offsets++ = -128 * (sums[-1] + sums[-2]);
        }
        values += k;
    }
}

void matmul_int8(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* row_scales,
                 const float* bias, std::size_t n, bool add, float* out, std::size_t ldo) {
    for (std::size_t row = 0; row < m; ++row) {
        const std::int8_t* values = x.values + row * x.k;
        for (std::size_t o = 0; o < n; ++o) {
            const std::uint8_t* w = panels + o / kPanel * int8_panel_bytes(x.k) + o % kPanel * 4;
            float total = 0.0f;
            for (std::size_t first = 0; first < x.k; first += kGroup) {
                std::int32_t sum = 0;
                for (std::size_t i = first; i < first + kGroup; ++i) {
                    sum += values[i] * (w[i / 4 * (4 * kPanel) + i % 4] - 128);
                }
                total = std::fma(static_cast<float>(sum), x.scales[(row * x.k + first) / kGroup], total);
            }
            const float scaled = bias == nullptr ? total * row_scales[o] : std::fma(total, row_scales[o], bias[o]);
            write(scaled, add, out[row * ldo + o]);
        }
    }
}

void matmul_int4(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* bias, std::size_t n,
                 bool add, float* out, std::size_t ldo) {
    constexpr std::size_t kGroupBytes = int4_panel_bytes(kInt4Group);
    for (std::size_t row = 0; row < m; ++row) {
        const std::int8_t* values = x.values + row * x.k;
        for (std::size_t o = 0; o < n; ++o) {
            const std::uint8_t* group = panels + o / kPanel * int4_panel_bytes(x.k);
            float total = 0.0f;
            for (std::size_t first = 0; first < x.k; first += kInt4Group, group += kGroupBytes) {
                std::int32_t sum = 0;
                for (std::size_t j = 0; j < kInt4Group / 2; ++j) {
                    const std::uint8_t both = group[(j / 4 * kPanel + o % kPanel) * 4 + j % 4];
                    sum += values[first + j] * ((both & 15) - 8) + values[first + 16 + j] * ((both >> 4) - 8);
                }
                std::uint16_t half;
                std::memcpy(&half, group + kPanel * kInt4Group / 2 + 2 * (o % kPanel), 2);
                float scale;
                widen_rows(&half, nullptr, 1, 1, &scale);
                scale *= x.scales[(row * x.k + first) / kGroup];
                total = std::fma(static_cast<float>(sum), scale, total);
            }
            write(bias == nullptr ? total : total + bias[o], add, out[row * ldo + o]);
        }
    }
}

}  // namespace ruvllm::kernels::scalar
