// Products of small matrices, row-major. A leading dimension (`lda`, `ldb`, `ldo`) is the distance between the starts
// of two rows, at least the length of a row. `out` overlaps no input.
// `add`: the product is added to `out`; else it replaces what `out` held.
#pragma once

#include <cstddef>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

// out (m, n) [+]= a (m, k) b (k, n). Every entry has one float32 accumulator, filled in the order of k, so a row's bits
// depend on neither m nor the blocking: a batch equals its rows one by one. The same holds for the forms below.
RUVLLM_KERNEL(void matmul(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m,
                          std::size_t n, std::size_t k, bool add, float* out, std::size_t ldo))

// out (m, n) [+]= a^T b with a (k, m) and b (k, n): the gradient of a weight.
RUVLLM_KERNEL(void matmul_tn(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m,
                             std::size_t n, std::size_t k, bool add, float* out, std::size_t ldo))

// out (m, n) [+]= a b^T with a (m, k) and b (n, k): inner products of rows; an accumulator is a vector of partial sums.
RUVLLM_KERNEL(void matmul_nt(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m,
                             std::size_t n, std::size_t k, bool add, float* out, std::size_t ldo))

// A b (k, n) that serves many calls is packed once: panels of 48 columns, the last one padded with zeros, each panel
// contiguous: packed[panel, row, column]. The same for every instruction set; fastest when aligned to 64 bytes.
inline constexpr std::size_t kPanelColumns = 48;
constexpr std::size_t packed_size(std::size_t k, std::size_t n) {
    return (n + kPanelColumns - 1) / kPanelColumns * kPanelColumns * k;
}

// Packs the (k, n) matrix whose entry (i, j) lies at b[i * row_stride + j * column_stride]: strides (n, 1) for a stored
// b, (1, k) for a stored transpose.
//   packed  (packed_size(k, n),), out
void pack(const float* b, std::size_t row_stride, std::size_t column_stride, std::size_t k, std::size_t n,
          float* packed);

// out (m, n) [+]= a (m, k) b (k, n), the same bits as matmul, from the packed b.
RUVLLM_KERNEL(void matmul_packed(const float* a, std::size_t lda, const float* packed, std::size_t m, std::size_t n,
                                 std::size_t k, bool add, float* out, std::size_t ldo))

// The definition in float64, for gradient checks.
void matmul(const double* a, std::size_t lda, const double* b, std::size_t ldb, std::size_t m, std::size_t n,
            std::size_t k, bool add, double* out, std::size_t ldo);
void matmul_tn(const double* a, std::size_t lda, const double* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, double* out, std::size_t ldo);
void matmul_nt(const double* a, std::size_t lda, const double* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, double* out, std::size_t ldo);

}  // namespace ruvllm::kernels
