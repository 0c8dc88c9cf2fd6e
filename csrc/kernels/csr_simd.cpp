// A lane is an example: blocks of kLanes examples are transposed into scratch, so that every stored entry is one fused
// multiply-add over contiguous lanes. The lanes past the last example are zero.
#include "kernels/csr.hpp"
#include "kernels/simd.hpp"
#include "kernels/simd_blocks.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

inline const float* lanes_of(const float* block, std::int32_t index) {
    return block + static_cast<std::size_t>(index) * kLanes;
}

void fill_zeros(float* p, std::size_t vectors) {
    for (std::size_t i = 0; i < vectors; ++i) store(p + i * kLanes, zeros());
}

}  // namespace

void csr_forward(const CsrPattern& pattern, const float* values, const float* x, std::size_t n, float* scratch,
                 float* out) {
    float* x_block = scratch;
    float* out_block = x_block + pattern.cols * kLanes;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const std::size_t count = i + kLanes <= n ? kLanes : n - i;
        load_transposed(x + i * pattern.cols, count, pattern.cols, x_block);
        for (std::size_t row = 0; row < pattern.rows; ++row) {
            F32 even = zeros(), odd = zeros();
            std::int32_t k = pattern.indptr[row];
            const std::int32_t end = pattern.indptr[row + 1];
            for (; k + 2 <= end; k += 2) {
                even = fma(load(lanes_of(x_block, pattern.indices[k])), set(values[k]), even);
                odd = fma(load(lanes_of(x_block, pattern.indices[k + 1])), set(values[k + 1]), odd);
            }
            if (k < end) even = fma(load(lanes_of(x_block, pattern.indices[k])), set(values[k]), even);
            store(out_block + row * kLanes, add(even, odd));
        }
        store_transposed(out_block, count, pattern.rows, out + i * pattern.rows);
    }
}

void csr_backward_input(const CsrPattern& pattern, const float* values, const float* d_out, std::size_t n,
                        float* scratch, float* d_x) {
    float* d_out_block = scratch;
    float* d_x_block = d_out_block + pattern.rows * kLanes;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const std::size_t count = i + kLanes <= n ? kLanes : n - i;
        load_transposed(d_out + i * pattern.rows, count, pattern.rows, d_out_block);
        fill_zeros(d_x_block, pattern.cols);
        for (std::size_t row = 0; row < pattern.rows; ++row) {
            const F32 d = load(d_out_block + row * kLanes);
            for (std::int32_t k = pattern.indptr[row]; k < pattern.indptr[row + 1]; ++k) {
                float* to = d_x_block + static_cast<std::size_t>(pattern.indices[k]) * kLanes;
                store(to, fma(d, set(values[k]), load(to)));
            }
        }
        store_transposed(d_x_block, count, pattern.cols, d_x + i * pattern.cols);
    }
}

void csr_backward_values(const CsrPattern& pattern, const float* d_out, const float* x, std::size_t n, float* scratch,
                         float* d_values) {
    const std::int32_t nnz = pattern.indptr[pattern.rows];
    float* d_out_block = scratch;
    float* x_block = d_out_block + pattern.rows * kLanes;
    float* sums = x_block + pattern.cols * kLanes;  // (nnz, kLanes): lane i holds examples i, i + kLanes, ...
    fill_zeros(sums, static_cast<std::size_t>(nnz));
    for (std::size_t i = 0; i < n; i += kLanes) {
        const std::size_t count = i + kLanes <= n ? kLanes : n - i;
        load_transposed(d_out + i * pattern.rows, count, pattern.rows, d_out_block);
        load_transposed(x + i * pattern.cols, count, pattern.cols, x_block);
        for (std::size_t row = 0; row < pattern.rows; ++row) {
            const F32 d = load(d_out_block + row * kLanes);
            for (std::int32_t k = pattern.indptr[row]; k < pattern.indptr[row + 1]; ++k) {
                float* to = sums + static_cast<std::size_t>(k) * kLanes;
                store(to, fma(d, load(lanes_of(x_block, pattern.indices[k])), load(to)));
            }
        }
    }
    for (std::int32_t k = 0; k < nnz; ++k) d_values[k] += sum(load(sums + static_cast<std::size_t>(k) * kLanes));
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
