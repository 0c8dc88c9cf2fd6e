#include "kernels/matmul.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void matmul(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
            std::size_t k, bool add, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(matmul)(a, lda, b, ldb, m, n, k, add, out, ldo);
}

void matmul_tn(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(matmul_tn)(a, lda, b, ldb, m, n, k, add, out, ldo);
}

void matmul_nt(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(matmul_nt)(a, lda, b, ldb, m, n, k, add, out, ldo);
}

void matmul_packed(const float* a, std::size_t lda, const float* packed, std::size_t m, std::size_t n, std::size_t k,
                   bool add, float* out, std::size_t ldo) {
    RUVLLM_DISPATCH(matmul_packed)(a, lda, packed, m, n, k, add, out, ldo);
}

void pack(const float* b, std::size_t row_stride, std::size_t column_stride, std::size_t k, std::size_t n,
          float* packed) {
    for (std::size_t j0 = 0; j0 < n; j0 += kPanelColumns) {
        for (std::size_t i = 0; i < k; ++i) {
            for (std::size_t j = j0; j < j0 + kPanelColumns; ++j) {
                *packed++ = j < n ? b[i * row_stride + j * column_stride] : 0.0f;
            }
        }
    }
}

}  // namespace ruvllm::kernels
