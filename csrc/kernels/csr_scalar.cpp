// The definition, in float32 and in double. It needs no scratch.
#include <algorithm>

#include "kernels/csr.hpp"

namespace ruvllm::kernels {
namespace {

// Calls visit(entry, row, column) for every stored entry.
template <typename Visit>
void for_each_entry(const CsrPattern& pattern, Visit visit) {
    for (std::size_t row = 0; row < pattern.rows; ++row) {
        for (auto entry = pattern.indptr[row]; entry < pattern.indptr[row + 1]; ++entry) {
            visit(entry, row, static_cast<std::size_t>(pattern.indices[entry]));
        }
    }
}

template <typename Real>
void forward(const CsrPattern& pattern, const Real* values, const Real* x, std::size_t n, Real* out) {
    std::fill_n(out, n * pattern.rows, Real{0});
    for (std::size_t i = 0; i < n; ++i, x += pattern.cols, out += pattern.rows) {
        for_each_entry(pattern, [=](auto entry, auto row, auto col) { out[row] += values[entry] * x[col]; });
    }
}

template <typename Real>
void backward_input(const CsrPattern& pattern, const Real* values, const Real* d_out, std::size_t n, Real* d_x) {
    std::fill_n(d_x, n * pattern.cols, Real{0});
    for (std::size_t i = 0; i < n; ++i, d_out += pattern.rows, d_x += pattern.cols) {
        for_each_entry(pattern, [=](auto entry, auto row, auto col) { d_x[col] += values[entry] * d_out[row]; });
    }
}

template <typename Real>
void backward_values(const CsrPattern& pattern, const Real* d_out, const Real* x, std::size_t n, Real* d_values) {
    for (std::size_t i = 0; i < n; ++i, d_out += pattern.rows, x += pattern.cols) {
        for_each_entry(pattern, [=](auto entry, auto row, auto col) { d_values[entry] += d_out[row] * x[col]; });
    }
}

}  // namespace

namespace scalar {

void csr_forward(const CsrPattern& pattern, const float* values, const float* x, std::size_t n, float*, float* out) {
    forward(pattern, values, x, n, out);
}

void csr_backward_input(const CsrPattern& pattern, const float* values, const float* d_out, std::size_t n, float*,
                        float* d_x) {
    backward_input(pattern, values, d_out, n, d_x);
}

void csr_backward_values(const CsrPattern& pattern, const float* d_out, const float* x, std::size_t n, float*,
                         float* d_values) {
    backward_values(pattern, d_out, x, n, d_values);
}

}  // namespace scalar

void csr_forward(const CsrPattern& pattern, const double* values, const double* x, std::size_t n, double*,
                 double* out) {
    forward(pattern, values, x, n, out);
}

void csr_backward_input(const CsrPattern& pattern, const double* values, const double* d_out, std::size_t n, double*,
                        double* d_x) {
    backward_input(pattern, values, d_out, n, d_x);
}

void csr_backward_values(const CsrPattern& pattern, const double* d_out, const double* x, std::size_t n, double*,
                         double* d_values) {
    backward_values(pattern, d_out, x, n, d_values);
}

}  // namespace ruvllm::kernels
