// FastGRNN for inference with one byte a weight.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/fastgrnn_params.hpp"

namespace ruvllm::engines {

// Matrices are rounded to scale * q with q in [-127, 127] and one scale each, largest |value| / 127; biases stay
// float32, zeta and nu are stored squashed. A sparse W needs input_size and nnz below 65 536. Never changes.
class FastGrnnInt8 {
  public:
    explicit FastGrnnInt8(const FastGrnnParams<float>& params);

    std::size_t input_size() const { return weights_.input_size; }
    std::size_t hidden_size() const { return weights_.hidden_size; }
    std::size_t output_size() const { return weights_.output_size; }

    // Bytes of everything a step reads.
    std::size_t weight_bytes() const;

    void step(const float* x, const float* h, float* new_h, float* outputs) const;

  private:
    std::vector<std::int8_t> matrices_;
    std::vector<std::uint16_t> support_;  // indptr, then indices
    std::vector<float> biases_;           // bias_gate, bias_update, head_bias, padded
    std::vector<kernels::HeadGroup> groups_;
    kernels::FastGrnnInt8Weights weights_{};
};

}  // namespace ruvllm::engines
