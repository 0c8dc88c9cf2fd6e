#include "kernels/fastgrnn.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void fastgrnn_step(const FastGrnnWeights<float>& weights, const float* x, const float* h, float* scratch, float* new_h,
                   float* outputs) {
    RUVLLM_DISPATCH(fastgrnn_step)(weights, x, h, scratch, new_h, outputs);
}

void fastgrnn_step_int8(const FastGrnnInt8Weights& weights, const float* x, const float* h, float* scratch,
                        float* new_h, float* outputs) {
    RUVLLM_DISPATCH(fastgrnn_step_int8)(weights, x, h, scratch, new_h, outputs);
}

void fastgrnn_cell(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride, const float* previous,
                   std::size_t previous_stride, float* pre_candidate, float* gate, float* hidden) {
    RUVLLM_DISPATCH(fastgrnn_cell)
    (gates, num_rows, stride, previous, previous_stride, pre_candidate, gate, hidden);
}

void fastgrnn_cell_backward(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride,
                            const float* candidate, const float* gate, const float* previous,
                            std::size_t previous_stride, float* d_hidden, float* d_previous, float* d_bias_gate,
                            float* d_bias_update, float* d_scalars) {
    RUVLLM_DISPATCH(fastgrnn_cell_backward)
    (gates, num_rows, stride, candidate, gate, previous, previous_stride, d_hidden, d_previous, d_bias_gate,
     d_bias_update, d_scalars);
}

void activate_heads(const HeadGroup* groups, std::size_t num_groups, const float* bias, std::size_t num_rows,
                    std::size_t output_size, float* scratch, float* logits) {
    RUVLLM_DISPATCH(activate_heads)(groups, num_groups, bias, num_rows, output_size, scratch, logits);
}

}  // namespace ruvllm::kernels
