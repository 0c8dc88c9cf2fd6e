// Sequences are taken in blocks whose rows, (sequence, step), stay in cache: everything that does not depend on the
// step before is one product over the block, the rest goes step by step over all sequences of the block.
#include "engines/fastgrnn.hpp"

#include <algorithm>
#include <cmath>

#include "engines/scratch.hpp"
#include "kernels/matmul.hpp"

namespace ruvllm::engines {
namespace {

using kernels::matmul;
using kernels::matmul_tn;
using kernels::padded;

constexpr std::size_t kBlockRows = 256;

std::size_t block_sequences(std::size_t num_sequences, std::size_t num_steps) {
    return std::clamp<std::size_t>(kBlockRows / num_steps, 1, num_sequences);
}

template <typename Real>
AlignedBuffer<Real> csr_scratch(const FastGrnnConfig& config) {
    if (!config.is_sparse()) return {};
    return AlignedBuffer<Real>(kernels::csr_scratch_size(config.hidden_size, config.input_size, config.indices.size()));
}

// Where the rows of step t - 1 lie, seen from step t: in h_0 or one step back.
template <typename Real>
struct Previous {
    Real* rows;
    std::size_t stride;

    Previous(Real* h_0, Real* block, std::size_t t, std::size_t size, std::size_t stride)
        : rows(t == 0 ? h_0 : block + (t - 1) * size), stride(t == 0 ? size : stride) {}
};

// The W half of every pre-activation of a block: out (rows, hidden_size) = x W^T.
template <typename Real>
void multiply_w(const FastGrnnParams<Real>& params, const Real* x, std::size_t rows, Real* low, Real* csr, Real* out) {
    const FastGrnnConfig& config = params.config();
    const std::size_t inputs = config.input_size, hidden = config.hidden_size, rank = config.w_rank;
    if (config.is_sparse()) {
        kernels::csr_forward(config.pattern(), params.at().w, x, rows, csr, out);
    } else if (rank == 0) {
        matmul(x, inputs, params.weights().w, padded(hidden), rows, hidden, inputs, false, out, hidden);
    } else {
        matmul(x, inputs, params.at().w2, rank, rows, rank, inputs, false, low, rank);
        matmul(low, rank, params.weights().w1, padded(hidden), rows, hidden, rank, false, out, hidden);
    }
}

// The U half of one step, added to out (rows, hidden_size), rows `stride` apart.
template <typename Real>
void add_u(const FastGrnnParams<Real>& params, const Previous<const Real>& previous, std::size_t rows, Real* low,
           Real* out, std::size_t stride) {
    const std::size_t hidden = params.config().hidden_size, rank = params.config().u_rank;
    if (rank == 0) {
        matmul(previous.rows, previous.stride, params.weights().u, padded(hidden), rows, hidden, hidden, true, out,
               stride);
    } else {
        matmul(previous.rows, previous.stride, params.at().u2, rank, rows, rank, hidden, false, low, rank);
        matmul(low, rank, params.weights().u1, padded(hidden), rows, hidden, rank, true, out, stride);
    }
}

// Gradients of W and of x from those of the pre-activations, d_pre (rows, hidden_size). low: 2 (rows, w_rank).
template <typename Real>
void backward_w(const FastGrnnParams<Real>& params, const Real* x, const Real* d_pre, std::size_t rows, Real* low,
                Real* csr, const FastGrnnPointers<Real>& d, Real* d_x) {
    const FastGrnnConfig& config = params.config();
    const std::size_t inputs = config.input_size, hidden = config.hidden_size, rank = config.w_rank;
    if (config.is_sparse()) {
        kernels::csr_backward_values(config.pattern(), d_pre, x, rows, csr, d.w);
        if (d_x) kernels::csr_backward_input(config.pattern(), params.at().w, d_pre, rows, csr, d_x);
    } else if (rank == 0) {
        matmul_tn(d_pre, hidden, x, inputs, hidden, inputs, rows, true, d.w, inputs);
        if (d_x) matmul(d_pre, hidden, params.at().w, inputs, rows, inputs, hidden, false, d_x, inputs);
    } else {
        Real *p = low, *d_p = low + rows * rank;
        matmul(x, inputs, params.at().w2, rank, rows, rank, inputs, false, p, rank);            // p = x W2
        matmul(d_pre, hidden, params.at().w1, rank, rows, rank, hidden, false, d_p, rank);      // d_p = g_a W1
        matmul_tn(d_pre, hidden, p, rank, hidden, rank, rows, true, d.w1, rank);                // g_a^T p
        matmul_tn(x, inputs, d_p, rank, inputs, rank, rows, true, d.w2, rank);                  // x^T d_p
        if (d_x) matmul(d_p, rank, params.w2_transposed(), padded(inputs), rows, inputs, rank, false, d_x, inputs);
    }
}

// Gradients of U, and of the previous state through U, from those of one step. low: 2 (rows, u_rank).
template <typename Real>
void backward_u(const FastGrnnParams<Real>& params, const Previous<const Real>& previous, const Real* d_pre,
                std::size_t stride, std::size_t rows, Real* low, const FastGrnnPointers<Real>& d,
                const Previous<Real>& d_previous) {
    const std::size_t hidden = params.config().hidden_size, rank = params.config().u_rank;
    if (rank == 0) {
        matmul_tn(d_pre, stride, previous.rows, previous.stride, hidden, hidden, rows, true, d.u, hidden);
        matmul(d_pre, stride, params.at().u, hidden, rows, hidden, hidden, true, d_previous.rows, d_previous.stride);
    } else {
        Real *q = low, *d_q = low + rows * rank;
        matmul(previous.rows, previous.stride, params.at().u2, rank, rows, rank, hidden, false, q, rank);
        matmul(d_pre, stride, params.at().u1, rank, rows, rank, hidden, false, d_q, rank);
        matmul_tn(d_pre, stride, q, rank, hidden, rank, rows, true, d.u1, rank);
        matmul_tn(previous.rows, previous.stride, d_q, rank, hidden, rank, rows, true, d.u2, rank);
        matmul(d_q, rank, params.u2_transposed(), padded(hidden), rows, hidden, rank, true, d_previous.rows,
               d_previous.stride);
    }
}

// Gradients of the heads; what they send back is added to d_hidden (rows, hidden_size).
template <typename Real>
void backward_heads(const FastGrnnParams<Real>& params, const Real* hidden_rows, const Real* d_logits,
                    std::size_t rows, const FastGrnnPointers<Real>& d, Real* d_hidden) {
    const std::size_t hidden = params.config().hidden_size, outputs = params.weights().output_size;
    matmul_tn(d_logits, outputs, hidden_rows, hidden, outputs, hidden, rows, true, d.head_weight, hidden);
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t i = 0; i < outputs; ++i) d.head_bias[i] += d_logits[row * outputs + i];
    }
    matmul(d_logits, outputs, params.at().head_weight, hidden, rows, hidden, outputs, true, d_hidden, hidden);
}

}  // namespace

template <typename Real>
FastGrnn<Real>::FastGrnn(FastGrnnConfig config)
    : config_(std::make_shared<const FastGrnnConfig>(std::move(config))), num_params_(fastgrnn_size(*config_)) {
    set_params(std::vector<Real>(num_params_).data());
}

template <typename Real>
void FastGrnn<Real>::set_params(const Real* flat) {
    // the copy of config_ in the deleter keeps the configuration for as long as the parameters
    std::shared_ptr<const FastGrnnParams<Real>> params(new FastGrnnParams<Real>(*config_, flat),
                                                       [config = config_](auto* gone) { delete gone; });
    const std::lock_guard<std::mutex> lock(mutex_);
    params_.swap(params);
}

template <typename Real>
std::shared_ptr<const FastGrnnParams<Real>> FastGrnn<Real>::params() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return params_;
}

template <typename Real>
void FastGrnn<Real>::step(const Real* x, const Real* h, Real* new_h, Real* outputs) const {
    const auto current = params();
    const std::size_t size = kernels::step_scratch_size(config_->input_size, config_->hidden_size, config_->w_rank,
                                                        config_->u_rank, current->weights().output_size);
    kernels::fastgrnn_step(current->weights(), x, h, thread_scratch<Real>(size), new_h, outputs);
}

template <typename Real>
void FastGrnn<Real>::forward(const Sequences<Real>& s, FastGrnnTape<Real>* tape, Real* hidden, Real* outputs) const {
    const auto current = params();
    const std::size_t steps = s.num_steps, inputs = config_->input_size, size = config_->hidden_size;
    const std::size_t num_outputs = current->weights().output_size, stride = steps * size;
    const std::size_t sequences = block_sequences(s.num_sequences, steps);
    const std::size_t kept = (tape ? s.num_sequences : sequences) * stride;
    AlignedBuffer<Real> gate(kept), candidate = AlignedBuffer<Real>(kept);
    const AlignedBuffer<Real> low(sequences * std::max(steps * config_->w_rank, config_->u_rank));
    const AlignedBuffer<Real> csr = csr_scratch<Real>(*config_);
    const kernels::FastGrnnGates<Real> gates = current->gates();

    for (std::size_t first = 0; first < s.num_sequences; first += sequences) {
        const std::size_t count = std::min(sequences, s.num_sequences - first), rows = count * steps;
        Real* block_hidden = hidden + first * stride;
        Real* block_gate = gate.data() + (tape ? first * stride : 0);
        Real* block_candidate = candidate.data() + (tape ? first * stride : 0);
        multiply_w(*current, s.x + first * steps * inputs, rows, low.data(), csr.data(), block_candidate);
        for (std::size_t t = 0; t < steps; ++t) {
            const Previous<const Real> previous(s.h_0 + first * size, block_hidden, t, size, stride);
            add_u(*current, previous, count, low.data(), block_candidate + t * size, stride);
            kernels::fastgrnn_cell(gates, count, stride, previous.rows, previous.stride, block_candidate + t * size,
                                   block_gate + t * size, block_hidden + t * size);
        }
        if (num_outputs > 0) {
            Real* logits = outputs + first * steps * num_outputs;
            matmul(block_hidden, size, current->weights().head_weight, padded(num_outputs), rows, num_outputs, size,
                   false, logits, num_outputs);
            kernels::activate_heads(config_->heads.data(), config_->heads.size(), current->at().head_bias, rows,
                                    num_outputs, logits);
        }
    }
    if (tape) *tape = {current, std::move(gate), std::move(candidate)};
}

template <typename Real>
void fastgrnn_backward(const FastGrnnTape<Real>& tape, const Sequences<Real>& s, const Real* hidden,
                       const FastGrnnGradients<Real>& gradients) {
    const FastGrnnParams<Real>& params = *tape.params;
    const FastGrnnConfig& config = params.config();
    const std::size_t steps = s.num_steps, inputs = config.input_size, size = config.hidden_size;
    const std::size_t num_outputs = params.weights().output_size, stride = steps * size;
    const std::size_t sequences = block_sequences(s.num_sequences, steps);
    const AlignedBuffer<Real> d_block(sequences * stride);
    const AlignedBuffer<Real> low =
        AlignedBuffer<Real>(2 * sequences * std::max(steps * config.w_rank, config.u_rank));
    const AlignedBuffer<Real> csr = csr_scratch<Real>(config);
    const kernels::FastGrnnGates<Real> gates = params.gates();

    std::fill_n(gradients.d_params, params.flat().size(), Real{0});
    std::fill_n(gradients.d_h_0, s.num_sequences * size, Real{0});
    const FastGrnnPointers<Real> d(config, gradients.d_params);
    Real d_scalars[2] = {0, 0};

    for (std::size_t first = 0; first < s.num_sequences; first += sequences) {
        const std::size_t count = std::min(sequences, s.num_sequences - first), rows = count * steps;
        const std::size_t offset = first * stride;
        if (gradients.d_hidden) {
            std::copy_n(gradients.d_hidden + offset, rows * size, d_block.data());
        } else {
            std::fill_n(d_block.data(), rows * size, Real{0});
        }
        if (gradients.d_logits) {
            backward_heads(params, hidden + offset, gradients.d_logits + first * steps * num_outputs, rows, d,
                           d_block.data());
        }
        for (std::size_t t = steps; t-- > 0;) {
            const Previous<const Real> previous(s.h_0 + first * size, hidden + offset, t, size, stride);
            const Previous<Real> d_previous(gradients.d_h_0 + first * size, d_block.data(), t, size, stride);
            Real* d_step = d_block.data() + t * size;
            kernels::fastgrnn_cell_backward(gates, count, stride, tape.candidate.data() + offset + t * size,
                                            tape.gate.data() + offset + t * size, previous.rows, previous.stride,
                                            d_step, d_previous.rows, d.bias_gate, d.bias_update, d_scalars);
            backward_u(params, previous, d_step, stride, count, low.data(), d, d_previous);
        }
        backward_w(params, s.x + first * steps * inputs, d_block.data(), rows, low.data(), csr.data(), d,
                   gradients.d_x ? gradients.d_x + first * steps * inputs : nullptr);
    }
    *d.zeta_raw = d_scalars[0] * gates.zeta * (1 - gates.zeta);
    *d.nu_raw = d_scalars[1] * gates.nu * (1 - gates.nu);
}

template class FastGrnn<float>;
template class FastGrnn<double>;
template void fastgrnn_backward(const FastGrnnTape<float>&, const Sequences<float>&, const float*,
                                const FastGrnnGradients<float>&);
template void fastgrnn_backward(const FastGrnnTape<double>&, const Sequences<double>&, const double*,
                                const FastGrnnGradients<double>&);

}  // namespace ruvllm::engines
