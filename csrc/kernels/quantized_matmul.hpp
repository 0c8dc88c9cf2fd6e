// Products with quantized matrices: out (m, n) = x (m, k) W^T for a W (n, k) of 8 or 4 bits, the same packing for every
// instruction set. x is quantized row by row in groups of kGroup entries with one scale each. Sums inside a group are
// whole numbers, and a result is one float32 accumulator over the groups in their order, so its bits depend on neither
// m, the blocking nor the number of threads: a batch equals its rows one by one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

inline constexpr std::size_t kPanel = 16;    // rows of W that lie together: a panel
inline constexpr std::size_t kGroup = 64;    // entries of x that share a scale
inline constexpr std::size_t kInt4Group = 32;  // entries of a row of an int4 W that share a scale
inline constexpr float kLeast = 1e-36f;        // groups of x below this count as zeros: 127 / x would overflow
constexpr std::size_t padded_to(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

// Rows of x, quantized: x[i] ~ values[i] * scales[i / kGroup]. Every pointer is the first row's; k is padded with zeros
// to a multiple of kGroup.
//   values  (m, k) int8 in [-127, 127]
//   scales  (m, k / kGroup)
//   offsets (m, k / kGroup), -128 times the sum of a group's values
//   sums    (m, k / kInt4Group), the sums of values
struct QuantizedRows {
    const std::int8_t* values;
    const float* scales;
    const std::int32_t* offsets;
    const std::int32_t* sums;
    std::size_t k;
};

// Quantizes m rows of `size` entries, `ldx` apart, rounding to the nearest, ties to even. A group of zeros has scale 0;
// a NaN or an infinity makes the scale, and so the results, NaN.
RUVLLM_KERNEL(void quantize_rows(const float* x, std::size_t ldx, std::size_t m, std::size_t size, std::int8_t* values,
                                 float* scales, std::int32_t* offsets, std::int32_t* sums))

// Bytes of a packed panel of W with k columns (padded to kGroup): its entries w become w + 128 or w + 8.
//   int8: [k / 4][kPanel][4]
//   int4: for each kInt4Group columns [4][kPanel][4], columns j in the low and j + 16 in the high half of a byte, then
//         kPanel scales in float16
constexpr std::size_t int8_panel_bytes(std::size_t k) { return kPanel * k; }
constexpr std::size_t int4_panel_bytes(std::size_t k) { return k / kInt4Group * (kPanel * kInt4Group / 2 + 2 * kPanel); }

// Packs up to kPanel rows, `size` entries long: a null row and missing columns become 0.
void pack_int8_panel(const std::int8_t* const (&rows)[kPanel], std::size_t size, std::uint8_t* panel);
// The same for rows of 4 bits.
//   codes   of each row, (ceil(size / 32) * 16,): entry j of a group in the low half of byte j, entry j + 16 in its high
//           half, both + 8
//   scales  of each row, (ceil(size / 32),) float16, not aligned
void pack_int4_panel(const std::uint8_t* const (&codes)[kPanel], const std::uint8_t* const (&scales)[kPanel],
                     std::size_t size, std::uint8_t* panel);

// out (m, n) = x W^T * row_scales + bias, or added to what `out` held.
//   panels      ceil(n / kPanel) panels with x.k columns, aligned to 64 bytes
//   row_scales  (n padded to kPanel,)
//   bias        (n padded to kPanel,) or null
//   out         m rows of n, `ldo` apart
RUVLLM_KERNEL(void matmul_int8(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels,
                               const float* row_scales, const float* bias, std::size_t n, bool add, float* out,
                               std::size_t ldo))
RUVLLM_KERNEL(void matmul_int4(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* bias,
                               std::size_t n, bool add, float* out, std::size_t ldo))

// matmul_int8 by the matrix unit; fastest from some rows on.
namespace amx {
void matmul_int8(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* row_scales,
                 const float* bias, std::size_t n, bool add, float* out, std::size_t ldo);
}

}  // namespace ruvllm::kernels
