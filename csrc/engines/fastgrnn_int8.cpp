#include "engines/fastgrnn_int8.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engines/scratch.hpp"

namespace ruvllm::engines {
namespace {

// Appends `size` rounded numbers to `bytes`; returns their scale.
float append_rounded(const float* values, std::size_t size, std::vector<std::int8_t>& bytes) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, std::fabs(values[i]));
    const float scale = std::max(largest / 127.0f, std::numeric_limits<float>::min());  // never 0, to divide by
    for (std::size_t i = 0; i < size; ++i) {
        const float rounded = std::nearbyint(values[i] / scale);
        bytes.push_back(static_cast<std::int8_t>(std::clamp(rounded, -127.0f, 127.0f)));
    }
    return scale;
}

}  // namespace

FastGrnnInt8::FastGrnnInt8(const FastGrnnParams<float>& params) : groups_(params.config().heads) {
    using kernels::padded;
    const kernels::FastGrnnWeights<float>& from = params.weights();
    const FastGrnnConfig& config = params.config();
    const std::size_t inputs = from.input_size, hidden = from.hidden_size, outputs = from.output_size;
    weights_.input_size = inputs;
    weights_.hidden_size = hidden;
    weights_.w_rank = from.w_rank;
    weights_.u_rank = from.u_rank;
    weights_.output_size = outputs;
    weights_.zeta = from.zeta;
    weights_.nu = from.nu;

    // offsets first, pointers when the vectors no longer grow
    const std::size_t w = 0;
    if (config.is_sparse()) {
        weights_.w_scale = append_rounded(params.at().w, config.indices.size(), matrices_);
        support_.assign(config.indptr.begin(), config.indptr.end());
        support_.insert(support_.end(), config.indices.begin(), config.indices.end());
    } else {
        const std::size_t columns = from.w_rank == 0 ? hidden : from.w_rank;
        weights_.w_scale = append_rounded(from.w, inputs * padded(columns), matrices_);
    }
    const std::size_t w1 = matrices_.size();
    weights_.w1_scale = append_rounded(from.w1, from.w_rank * padded(hidden), matrices_);
    const std::size_t u = matrices_.size();
    weights_.u_scale = append_rounded(from.u, hidden * padded(from.u_rank == 0 ? hidden : from.u_rank), matrices_);
    const std::size_t u1 = matrices_.size();
    weights_.u1_scale = append_rounded(from.u1, from.u_rank * padded(hidden), matrices_);
    const std::size_t head_weight = matrices_.size();
    weights_.head_scale = append_rounded(from.head_weight, outputs > 0 ? hidden * padded(outputs) : 0, matrices_);
    biases_.assign(from.bias_gate, from.bias_gate + padded(hidden));
    biases_.insert(biases_.end(), from.bias_update, from.bias_update + padded(hidden));
    if (outputs > 0) biases_.insert(biases_.end(), from.head_bias, from.head_bias + padded(outputs));

    weights_.w = matrices_.data() + w;
    weights_.w1 = matrices_.data() + w1;
    weights_.u = matrices_.data() + u;
    weights_.u1 = matrices_.data() + u1;
    weights_.head_weight = matrices_.data() + head_weight;
    if (config.is_sparse()) {
        weights_.indptr = support_.data();
        weights_.indices = support_.data() + hidden + 1;
    }
    weights_.bias_gate = biases_.data();
    weights_.bias_update = biases_.data() + padded(hidden);
    weights_.head_bias = biases_.data() + 2 * padded(hidden);
    weights_.groups = groups_.data();
    weights_.num_groups = groups_.size();
}

std::size_t FastGrnnInt8::weight_bytes() const {
    constexpr std::size_t kScalars = 7;  // five scales, zeta and nu
    return matrices_.size() + support_.size() * sizeof(std::uint16_t) + (biases_.size() + kScalars) * sizeof(float);
}

void FastGrnnInt8::step(const float* x, const float* h, float* new_h, float* outputs) const {
    const ThreadScratch<float> scratch(kernels::step_scratch_size(
        weights_.input_size, weights_.hidden_size, weights_.w_rank, weights_.u_rank, weights_.output_size));
    kernels::fastgrnn_step_int8(weights_, x, h, scratch.data(), new_h, outputs);
}

}  // namespace ruvllm::engines
