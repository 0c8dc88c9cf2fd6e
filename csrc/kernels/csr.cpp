#include "kernels/csr.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void csr_forward(const CsrPattern& pattern, const float* values, const float* x, std::size_t n, float* scratch,
                 float* out) {
    RUVLLM_DISPATCH(csr_forward)(pattern, values, x, n, scratch, out);
}

void csr_backward_input(const CsrPattern& pattern, const float* values, const float* d_out, std::size_t n,
                        float* scratch, float* d_x) {
    RUVLLM_DISPATCH(csr_backward_input)(pattern, values, d_out, n, scratch, d_x);
}

void csr_backward_values(const CsrPattern& pattern, const float* d_out, const float* x, std::size_t n, float* scratch,
                         float* d_values) {
    RUVLLM_DISPATCH(csr_backward_values)(pattern, d_out, x, n, scratch, d_values);
}

}  // namespace ruvllm::kernels
