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

// The U half of step t, added to out (sequences, hidden_size), rows `steps * hidden_size` apart. low (sequences, steps,
// u_rank) keeps q = U2^T h.
template <typename Real>
void add_u(const FastGrnnParams<Real>& params, const Previous<const Real>& previous, std::size_t sequences,
           std::size_t steps, std::size_t t, Real* low, Real* out) {
    const std::size_t hidden = params.config().hidden_size, rank = params.config().u_rank, stride = steps * hidden;
    if (rank == 0) {
        matmul(previous.rows, previous.stride, params.weights().u, padded(hidden), sequences, hidden, hidden, true, out,
               stride);
    } else {
        Real* q = low + t * rank;
        matmul(previous.rows, previous.stride, params.at().u2, rank, sequences, rank, hidden, false, q, steps * rank);
        matmul(q, steps * rank, params.weights().u1, padded(hidden), sequences, hidden, rank, true, out, stride);
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

// What step t sends back through U, added to d_previous: g_a U. d_low (sequences, steps, u_rank) keeps g_a U1.
template <typename Real>
void backward_state(const FastGrnnParams<Real>& params, const Real* d_pre, std::size_t sequences, std::size_t steps,
                    std::size_t t, Real* d_low, const Previous<Real>& d_previous) {
    const std::size_t hidden = params.config().hidden_size, rank = params.config().u_rank, stride = steps * hidden;
    if (rank == 0) {
        matmul(d_pre, stride, params.at().u, hidden, sequences, hidden, hidden, true, d_previous.rows,
               d_previous.stride);
    } else {
        Real* d_q = d_low + t * rank;
        matmul(d_pre, stride, params.at().u1, rank, sequences, rank, hidden, false, d_q, steps * rank);
        matmul(d_q, steps * rank, params.u2_transposed(), padded(hidden), sequences, hidden, rank, true,
               d_previous.rows, d_previous.stride);
    }
}

// out (m, hidden_size) += a^T h_{t-1} over the rows (sequence, step) of a block, a (rows, m). Row i of `states` is the
// state before row i + 1, unless that one begins a sequence: those are taken with h_0, and are zeros afterwards.
template <typename Real>
void add_products_with_previous(Real* a, std::size_t m, const Real* h_0, const Real* states, std::size_t hidden,
                                std::size_t sequences, std::size_t steps, Real* out) {
    matmul_tn(a, steps * m, h_0, hidden, m, hidden, sequences, true, out, hidden);
    if (steps == 1) return;
    for (std::size_t i = 0; i < sequences; ++i) std::fill_n(a + i * steps * m, m, Real{0});
    matmul_tn(a + m, m, states, hidden, m, hidden, sequences * steps - 1, true, out, hidden);
}

// to (columns, rows) = from^T, from (rows, columns)
template <typename Real>
void transpose(const Real* from, std::size_t rows, std::size_t columns, Real* to) {
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
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
    const ThreadScratch<Real> scratch(size);
    kernels::fastgrnn_step(current->weights(), x, h, scratch.data(), new_h, outputs);
}

template <typename Real>
void FastGrnn<Real>::forward(const Sequences<Real>& s, FastGrnnTape<Real>* tape, Real* hidden, Real* outputs) const {
    const auto current = params();
    const std::size_t steps = s.num_steps, inputs = config_->input_size, size = config_->hidden_size;
    const std::size_t num_outputs = current->weights().output_size, stride = steps * size;
    const std::size_t sequences = block_sequences(s.num_sequences, steps);
    const std::size_t kept = (tape ? s.num_sequences : sequences) * stride;
    AlignedBuffer<Real> gate(kept), candidate = AlignedBuffer<Real>(kept);
    AlignedBuffer<Real> low_u((tape ? s.num_sequences : sequences) * steps * config_->u_rank);
    const AlignedBuffer<Real> low(sequences * steps * config_->w_rank), head_scratch(16 * num_outputs);
    const AlignedBuffer<Real> csr = csr_scratch<Real>(*config_);
    const kernels::FastGrnnGates<Real> gates = current->gates();

    for (std::size_t first = 0; first < s.num_sequences; first += sequences) {
        const std::size_t count = std::min(sequences, s.num_sequences - first), rows = count * steps;
        Real* block_hidden = hidden + first * stride;
        Real* block_gate = gate.data() + (tape ? first * stride : 0);
        Real* block_candidate = candidate.data() + (tape ? first * stride : 0);
        Real* block_low = low_u.data() + (tape ? first * steps * config_->u_rank : 0);
        multiply_w(*current, s.x + first * steps * inputs, rows, low.data(), csr.data(), block_candidate);
        for (std::size_t t = 0; t < steps; ++t) {
            const Previous<const Real> previous(s.h_0 + first * size, block_hidden, t, size, stride);
            add_u(*current, previous, count, steps, t, block_low, block_candidate + t * size);
            kernels::fastgrnn_cell(gates, count, stride, previous.rows, previous.stride, block_candidate + t * size,
                                   block_gate + t * size, block_hidden + t * size);
        }
        if (num_outputs > 0) {
            Real* logits = outputs + first * steps * num_outputs;
            matmul(block_hidden, size, current->weights().head_weight, padded(num_outputs), rows, num_outputs, size,
                   false, logits, num_outputs);
            kernels::activate_heads(config_->heads.data(), config_->heads.size(), current->at().head_bias, rows,
                                    num_outputs, head_scratch.data(), logits);
        }
    }
    if (tape) *tape = {current, std::move(gate), std::move(candidate), std::move(low_u)};
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
    const std::size_t rank = config.u_rank;
    const AlignedBuffer<Real> low(2 * sequences * steps * config.w_rank), d_low(sequences * steps * rank);
    const AlignedBuffer<Real> d_u_transposed(2 * rank * size);
    const AlignedBuffer<Real> csr = csr_scratch<Real>(config);
    const kernels::FastGrnnGates<Real> gates = params.gates();

    std::fill_n(gradients.d_params, params.flat().size(), Real{0});
    std::fill_n(gradients.d_h_0, s.num_sequences * size, Real{0});
    const FastGrnnPointers<Real> d(config, gradients.d_params);
    Real *d_u1 = d_u_transposed.data(), *d_u2 = d_u1 + rank * size;  // (u_rank, hidden_size): whole vectors of units
    std::fill_n(d_u1, 2 * rank * size, Real{0});
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
            backward_state(params, d_step, count, steps, t, d_low.data(), d_previous);
        }
        backward_w(params, s.x + first * steps * inputs, d_block.data(), rows, low.data(), csr.data(), d,
                   gradients.d_x ? gradients.d_x + first * steps * inputs : nullptr);
        const Real* h_0 = s.h_0 + first * size;
        if (rank == 0) {  // g_a is not needed any more, so its rows may become zeros
            add_products_with_previous(d_block.data(), size, h_0, hidden + offset, size, count, steps, d.u);
        } else {
            matmul_tn(tape.low_u.data() + first * steps * rank, rank, d_block.data(), size, rank, size, rows, true,
                      d_u1, size);
            add_products_with_previous(d_low.data(), rank, h_0, hidden + offset, size, count, steps, d_u2);
        }
    }
    if (rank > 0) {
        transpose(d_u1, rank, size, d.u1);
        transpose(d_u2, rank, size, d.u2);
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
