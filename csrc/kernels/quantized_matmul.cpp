#include "kernels/quantized_matmul.hpp"

#include <cstring>

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void quantize_rows(const float* x, std::size_t ldx, std::size_t m, std::size_t size, std::int8_t* values,
                   float* scales, std::int32_t* offsets, std::int32_t* sums) {
    RUVLLM_DISPATCH(quantize_rows)(x, ldx, m, size, values, scales, offsets, sums);
}

void matmul_int8(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* row_scales,
                 const float* bias, std::size_t n, bool add, float* out, std::size_t ldo) {
#ifdef RUVLLM_X86
    constexpr std::size_t kTileRows = 8;  // fewer leave too much of a tile empty
    if (active_isa() == Isa::amx && m >= kTileRows) {
        return amx::matmul_int8(x, m, panels, row_scales, bias, n, add, out, ldo);
    }
#endif
    RUVLLM_DISPATCH(matmul_int8)(x, m, panels, row_scales, bias, n, add, out, ldo);
}

void matmul_int4(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* bias, std::size_t n,
                 bool add, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(matmul_int4)(x, m, panels, bias, n, add, out, ldo);
}

void pack_int8_panel(const std::int8_t* const (&rows)[kPanel], std::size_t size, std::uint8_t* panel) {
    const std::size_t k = padded_to(size, kGroup), whole = size / 4;
    if (size < k) std::memset(panel + whole * 4 * kPanel, 128, (k / 4 - whole) * 4 * kPanel);
    for (std::size_t row = 0; row < kPanel; ++row) {
        std::uint8_t* to = panel + 4 * row;
        for (std::size_t quad = 0; quad < whole; ++quad, to += 4 * kPanel) {
            std::uint32_t four = 0;
            if (rows[row] != nullptr) std::memcpy(&four, rows[row] + 4 * quad, 4);
            four ^= 0x80808080u;
            std::memcpy(to, &four, 4);
        }
        for (std::size_t j = 4 * whole; j < size && rows[row] != nullptr; ++j) {
            to[j % 4] = static_cast<std::uint8_t>(rows[row][j] + 128);
        }
    }
}

void pack_int4_panel(const std::uint8_t* const (&codes)[kPanel], const std::uint8_t* const (&scales)[kPanel],
                     std::size_t size, std::uint8_t* panel) {
    constexpr std::size_t kHalf = kInt4Group / 2;  // bytes of a row's group
    const std::size_t groups = (size + kInt4Group - 1) / kInt4Group, all_groups = padded_to(size, kGroup) / kInt4Group;
    for (std::size_t group = 0; group < all_groups; ++group, panel += int4_panel_bytes(kInt4Group)) {
        std::memset(panel, 0x88, kPanel * kHalf);
        std::memset(panel + kPanel * kHalf, 0, 2 * kPanel);
        for (std::size_t row = 0; row < kPanel && group < groups; ++row) {
            if (codes[row] == nullptr) continue;
            const std::uint8_t* from = codes[row] + group * kHalf;
            for (std::size_t quad = 0; quad < 4; ++quad) std::memcpy(panel + (quad * kPanel + row) * 4, from + 4 * quad, 4);
            std::memcpy(panel + kPanel * kHalf + 2 * row, scales[row] + 2 * group, 2);
        }
    }
}

}  // namespace ruvllm::kernels
