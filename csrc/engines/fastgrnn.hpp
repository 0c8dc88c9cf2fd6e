// FastGRNN over batches of sequences, forward and backward through time; parameters can be swapped at any moment.
#pragma once

#include <memory>
#include <mutex>

#include "engines/fastgrnn_params.hpp"

namespace ruvllm::engines {

// A batch of sequences; nothing is owned.
template <typename Real>
struct Sequences {
    const Real* x;    // (num_sequences, num_steps, input_size)
    const Real* h_0;  // (num_sequences, hidden_size)
    std::size_t num_sequences, num_steps;
};

// What backward needs of a forward pass: the parameters it ran with, and what every step computed.
template <typename Real>
struct FastGrnnTape {
    std::shared_ptr<const FastGrnnParams<Real>> params;
    AlignedBuffer<Real> gate, candidate;  // (num_sequences, num_steps, hidden_size)
    AlignedBuffer<Real> low_u;            // (num_sequences, num_steps, u_rank) U2^T h_{t-1}
};

// Gradients to fill; d_x may be null. Null inputs count as zeros.
template <typename Real>
struct FastGrnnGradients {
    const Real* d_logits;  // (num_sequences, num_steps, output_size) of the heads before their activation, or null
    const Real* d_hidden;  // (num_sequences, num_steps, hidden_size) or null
    Real* d_params;        // (num_params,) in the layout of the parameters
    Real* d_h_0;           // (num_sequences, hidden_size)
    Real* d_x;             // (num_sequences, num_steps, input_size) or null
};

// Any thread may call anything; a call uses the parameters that were set when it began. No method starts a thread.
template <typename Real>
class FastGrnn {
  public:
    // All parameters are zero until they are set.
    explicit FastGrnn(FastGrnnConfig config);

    const FastGrnnConfig& config() const { return *config_; }
    std::size_t num_params() const { return num_params_; }

    void set_params(const Real* flat);  // (num_params,) finite, copied
    std::shared_ptr<const FastGrnnParams<Real>> params() const;

    // One step of one sequence: x (input_size,), h (hidden_size,), new_h (hidden_size,), outputs (output_size,).
    void step(const Real* x, const Real* h, Real* new_h, Real* outputs) const;

    // Every h_t and the heads' outputs on each, (num_sequences, num_steps, ...); a tape when `tape` is not null.
    void forward(const Sequences<Real>& sequences, FastGrnnTape<Real>* tape, Real* hidden, Real* outputs) const;

  private:
    std::shared_ptr<const FastGrnnConfig> config_;
    std::size_t num_params_;
    mutable std::mutex mutex_;  // guards the pointer, not what it points to
    std::shared_ptr<const FastGrnnParams<Real>> params_;
};

// Backward through time over what forward wrote: `sequences` and `hidden` as they were then.
template <typename Real>
void fastgrnn_backward(const FastGrnnTape<Real>& tape, const Sequences<Real>& sequences, const Real* hidden,
                       const FastGrnnGradients<Real>& gradients);

extern template class FastGrnn<float>;
extern template class FastGrnn<double>;

}  // namespace ruvllm::engines
