// Products with a sparse matrix S (rows, cols) in compressed rows: indptr (rows + 1,), ascending from 0; indices (nnz,)
// in [0, cols); values (nnz,). Dense matrices are row-major; their rows are the examples of a batch.
// In float32, with variants, and in double, where it is the definition.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

struct CsrPattern {
    const std::int32_t* indptr;
    const std::int32_t* indices;
    std::size_t rows, cols;
};

// Numbers of scratch memory that each of these needs: a batch is taken in blocks of at most 16 examples, transposed.
inline constexpr std::size_t csr_scratch_size(std::size_t rows, std::size_t cols, std::size_t nnz) {
    return 16 * (rows + cols + nnz);
}

// out (n, rows) = x (n, cols) S^T
RUVLLM_KERNEL(void csr_forward(const CsrPattern& pattern, const float* values, const float* x, std::size_t n,
                               float* scratch, float* out))
void csr_forward(const CsrPattern& pattern, const double* values, const double* x, std::size_t n, double* scratch,
                 double* out);

// d_x (n, cols) = d_out (n, rows) S
RUVLLM_KERNEL(void csr_backward_input(const CsrPattern& pattern, const float* values, const float* d_out,
                                      std::size_t n, float* scratch, float* d_x))
void csr_backward_input(const CsrPattern& pattern, const double* values, const double* d_out, std::size_t n,
                        double* scratch, double* d_x);

// d_values (nnz,) += the entries of d_out^T x that lie on the pattern: a sampled outer product, summed over the batch.
RUVLLM_KERNEL(void csr_backward_values(const CsrPattern& pattern, const float* d_out, const float* x, std::size_t n,
                                       float* scratch, float* d_values))
void csr_backward_values(const CsrPattern& pattern, const double* d_out, const double* x, std::size_t n,
                         double* scratch, double* d_values);

}  // namespace ruvllm::kernels
