// The definition: three loops and one accumulator an entry.
#include "kernels/matmul.hpp"

namespace ruvllm::kernels {
namespace {

// An operand: entry (i, j) lies at data[i * row_stride + j * column_stride].
template <typename Real>
struct Strided {
    const Real* data;
    std::size_t row_stride, column_stride;

    Real operator()(std::size_t i, std::size_t j) const { return data[i * row_stride + j * column_stride]; }
};

template <typename Real>
void product(Strided<Real> a, Strided<Real> b, std::size_t m, std::size_t n, std::size_t k, bool add, Real* out,
             std::size_t ldo) {
    for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            Real acc = 0;
            for (std::size_t p = 0; p < k; ++p) acc += a(i, p) * b(p, j);
            Real& entry = out[i * ldo + j];
            entry = add ? entry + acc : acc;
        }
    }
}

}  // namespace

void matmul(const double* a, std::size_t lda, const double* b, std::size_t ldb, std::size_t m, std::size_t n,
            std::size_t k, bool add, double* out, std::size_t ldo) {
    product<double>({a, lda, 1}, {b, ldb, 1}, m, n, k, add, out, ldo);
}

void matmul_tn(const double* a, std::size_t lda, const double* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, double* out, std::size_t ldo) {
    product<double>({a, 1, lda}, {b, ldb, 1}, m, n, k, add, out, ldo);
}

void matmul_nt(const double* a, std::size_t lda, const double* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, double* out, std::size_t ldo) {
    product<double>({a, lda, 1}, {b, 1, ldb}, m, n, k, add, out, ldo);
}

namespace scalar {

void matmul(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
            std::size_t k, bool add, float* out, std::size_t ldo) {
    product<float>({a, lda, 1}, {b, ldb, 1}, m, n, k, add, out, ldo);
}

void matmul_tn(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    product<float>({a, 1, lda}, {b, ldb, 1}, m, n, k, add, out, ldo);
}

void matmul_nt(const float* a, std::size_t lda, const float* b, std::size_t ldb, std::size_t m, std::size_t n,
               std::size_t k, bool add, float* out, std::size_t ldo) {
    product<float>({a, lda, 1}, {b, 1, ldb}, m, n, k, add, out, ldo);
}

void matmul_packed(const float* a, std::size_t lda, const float* packed, std::size_t m, std::size_t n, std::size_t k,
                   bool add, float* out, std::size_t ldo) {
    for (std::size_t j = 0; j < n; j += kPanelColumns) {
        const std::size_t columns = n - j < kPanelColumns ? n - j : kPanelColumns;
        product<float>({a, lda, 1}, {packed + j * k, kPanelColumns, 1}, m, columns, k, add, out + j, ldo);
    }
}

}  // namespace scalar
}  // namespace ruvllm::kernels
