// Tiles of 16 rows of x, 16 rows of W and one group of columns at a time, by the matrix unit; what the vector variant
// does with its sums is done here with theirs, so both give the same bits.
#include <immintrin.h>

#include "kernels/quantized_matmul.hpp"

namespace ruvllm::kernels::amx {
namespace {

constexpr std::size_t kTileRows = 16;
constexpr std::size_t kGroupBytes = kGroup * kPanel;  // of a panel: one tile of W

// The tile registers: 0 and 1 hold sums, 2 and 3 x, in turn, so that a product need not wait for the one before; 4 holds
// W. 5 and 6 are as 0 and 2 with the rows that are left over.
struct alignas(64) Config {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16};

    explicit Config(std::size_t left_over) {
        rows[5] = rows[6] = static_cast<std::uint8_t>(left_over > 0 ? left_over : 1);
    }
};

// products = x W^T for one group; a macro, because a tile register is named by its number in the source.
#define RUVLLM_MULTIPLY(sums, x, values, k, panel, products) \
    _tile_zero(sums);                                        \
    _tile_loadd(x, values, static_cast<long>(k));            \
    _tile_loadd(4, panel, 64);                               \
    _tile_dpbsud(sums, x, 4);                                \
    _tile_stored(sums, products, 64)

// R rows of x from `row` on, or the `rows` left over, against one panel: the totals of a row are a register.
template <bool kIsWhole>
inline __attribute__((always_inline)) void tile(const QuantizedRows& x, std::size_t row, std::size_t rows,
                                                const std::uint8_t* panel, const float* row_scales, const float* bias,
                                                std::size_t count, bool add, float* out, std::size_t ldo) {
    const std::size_t groups = x.k / kGroup;
    const std::int8_t* values = x.values + row * x.k;
    const float* scales = x.scales + row * groups;
    const std::int32_t* offsets = x.offsets + row * groups;
    alignas(64) std::int32_t even[kTileRows * kPanel], odd[kTileRows * kPanel];
    __m512 totals[kTileRows];
    for (std::size_t r = 0; r < kTileRows; ++r) totals[r] = _mm512_setzero_ps();
    const auto add_up = [&](std::size_t group, const std::int32_t* products) __attribute__((always_inline)) {
#pragma GCC unroll 16
        for (std::size_t r = 0; r < kTileRows; ++r) {
            if (!kIsWhole && r >= rows) break;
            const __m512i offset = _mm512_set1_epi32(offsets[r * groups + group]);
            const __m512i sums = _mm512_add_epi32(_mm512_load_si512(products + r * kPanel), offset);
            totals[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(scales[r * groups + group]), totals[r]);
        }
    };
    for (std::size_t group = 0; group < groups; group += 2, values += 2 * kGroup, panel += 2 * kGroupBytes) {
        if constexpr (kIsWhole) {
            RUVLLM_MULTIPLY(0, 2, values, x.k, panel, even);
        } else {
            RUVLLM_MULTIPLY(5, 6, values, x.k, panel, even);
        }
        if (group > 0) add_up(group - 1, odd);
        if (group + 1 == groups) {
            add_up(group, even);
            break;
        }
        if constexpr (kIsWhole) {
            RUVLLM_MULTIPLY(1, 3, values + kGroup, x.k, panel + kGroupBytes, odd);
        } else {
            RUVLLM_MULTIPLY(5, 6, values + kGroup, x.k, panel + kGroupBytes, odd);
        }
        add_up(group, even);
        if (group + 2 == groups) add_up(group + 1, odd);
    }
    const auto mask = static_cast<__mmask16>((1u << count) - 1u);
    const __m512 by = _mm512_loadu_ps(row_scales);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kTileRows; ++r) {
        if (!kIsWhole && r >= rows) break;
        float* place = out + (row + r) * ldo;
        __m512 y = bias != nullptr ? _mm512_fmadd_ps(totals[r], by, _mm512_loadu_ps(bias)) : _mm512_mul_ps(totals[r], by);
        if (add) y = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, place), y);
        _mm512_mask_storeu_ps(place, mask, y);
    }
}

}  // namespace

void matmul_int8(const QuantizedRows& x, std::size_t m, const std::uint8_t* panels, const float* row_scales,
                 const float* bias, std::size_t n, bool add, float* out, std::size_t ldo) {
    const Config config(m % kTileRows);
    asm volatile("" : : "r"(&config) : "memory");  // GCC 12 believes that the next line reads eight bytes of it
    _tile_loadconfig(&config);
    constexpr std::size_t kPanelsAtOnce = 4;
    for (std::size_t first = 0; first < n; first += kPanelsAtOnce * kPanel) {
        const std::size_t end = first + kPanelsAtOnce * kPanel < n ? first + kPanelsAtOnce * kPanel : n;
        for (std::size_t row = 0; row < m; row += kTileRows) {
            for (std::size_t o = first; o < end; o += kPanel) {
                const std::uint8_t* panel = panels + o / kPanel * int8_panel_bytes(x.k);
                const float* own_bias = bias == nullptr ? nullptr : bias + o;
                const std::size_t count = n - o < kPanel ? n - o : kPanel;
                if (row + kTileRows <= m) {
                    tile<true>(x, row, kTileRows, panel, row_scales + o, own_bias, count, add, out + o, ldo);
                } else {
                    tile<false>(x, row, m - row, panel, row_scales + o, own_bias, count, add, out + o, ldo);
                }
            }
        }
    }
    _tile_release();
}

}  // namespace ruvllm::kernels::amx
