// The FastGRNN cell (Kusupati et al. 2018, arXiv:1901.02358, eq. 6 and 7) with a linear layer of heads behind it:
//   a = W x + U h                              pre-activation, shared by both
//   z = s(a + b_z)                             gate       s: the logistic function
//   c = tanh(a + b_h)                          candidate
//   h' = (zeta (1 - z) + nu) c + z h           elementwise
//   outputs = activation(V h' + b_v)           in groups: softmax, sigmoid or linear
// Everything here exists in float32, with variants, and in double, where it is the definition (for checking gradients).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.hpp"

namespace ruvllm::kernels {

enum class HeadActivation : std::uint8_t { linear, sigmoid, softmax };

// Neighbouring outputs that share an activation.
struct HeadGroup {
    std::size_t size;
    HeadActivation activation;
};

// Rows of packed matrices are padded with zeros to whole windows of this many numbers.
inline constexpr std::size_t kWindow = 16;
inline constexpr std::size_t padded(std::size_t size) { return (size + kWindow - 1) / kWindow * kWindow; }

// A sparse matrix (outputs, inputs) for one product with one vector. Outputs come in groups of kWindow, the lanes. A
// slot holds one entry of each lane, all within one window of inputs: the lanes read x by a lookup in registers.
template <typename Real>
struct SparseSlots {
    const std::uint32_t* group_ends;  // (groups,) one past the last slot of each group
    const std::uint32_t* windows;     // (slots,) first input of the window, a multiple of kWindow
    const std::int32_t* columns;      // (slots, kWindow) in [0, kWindow): input minus window
    const Real* values;               // (slots, kWindow) 0 where a lane has nothing
};

// Weights as the one-step kernel reads them: matrices transposed, (inputs, padded(outputs)), so that lanes are outputs.
template <typename Real>
struct FastGrnnWeights {
    std::size_t input_size, hidden_size;
    std::size_t w_rank, u_rank;  // 0: not of low rank
    const Real* w;               // (input_size, padded(hidden_size)) W^T, or (input_size, padded(w_rank)) W2, or null
    const Real* w1;              // (w_rank, padded(hidden_size)) W1^T
    SparseSlots<Real> slots;     // W when w is null
    const Real* u;               // (hidden_size, padded(hidden_size)) U^T, or (hidden_size, padded(u_rank)) U2
    const Real* u1;              // (u_rank, padded(hidden_size)) U1^T
    const Real* bias_gate;       // (padded(hidden_size),)
    const Real* bias_update;     // (padded(hidden_size),)
    Real zeta, nu;               // in (0, 1)
    std::size_t output_size;
    const Real* head_weight;  // (hidden_size, padded(output_size)) V^T
    const Real* head_bias;    // (padded(output_size),)
    const HeadGroup* groups;  // their sizes add up to output_size
    std::size_t num_groups;
};

// The same with a byte a weight: matrix = scale * bytes. Sparse W is stored in compressed rows.
struct FastGrnnInt8Weights {
    std::size_t input_size, hidden_size, w_rank, u_rank;
    const std::int8_t* w;          // as above, or the (nnz,) entries of a sparse W
    const std::int8_t* w1;
    const std::uint16_t* indptr;   // (hidden_size + 1,) null: W is not sparse
    const std::uint16_t* indices;  // (nnz,) in [0, input_size)
    const std::int8_t* u;
    const std::int8_t* u1;
    const std::int8_t* head_weight;
    float w_scale, w1_scale, u_scale, u1_scale, head_scale;
    const float* bias_gate;
    const float* bias_update;
    float zeta, nu;
    std::size_t output_size;
    const float* head_bias;
    const HeadGroup* groups;
    std::size_t num_groups;
};

// Numbers of scratch memory that one step needs.
inline constexpr std::size_t step_scratch_size(std::size_t input_size, std::size_t hidden_size, std::size_t w_rank,
                                               std::size_t u_rank, std::size_t output_size) {
    return padded(input_size) + padded(hidden_size) + padded(w_rank) + padded(u_rank) + 2 * padded(output_size);
}

// One step of the cell and its heads.
//   x        (input_size,) finite
//   h        (hidden_size,) finite
//   scratch  (step_scratch_size(...),)
//   new_h    (hidden_size,) out, not overlapping h
//   outputs  (output_size,) out, after the activations
RUVLLM_KERNEL(void fastgrnn_step(const FastGrnnWeights<float>& weights, const float* x, const float* h, float* scratch,
                                 float* new_h, float* outputs))
void fastgrnn_step(const FastGrnnWeights<double>& weights, const double* x, const double* h, double* scratch,
                   double* new_h, double* outputs);
RUVLLM_KERNEL(void fastgrnn_step_int8(const FastGrnnInt8Weights& weights, const float* x, const float* h,
                                      float* scratch, float* new_h, float* outputs))

// What one time step needs beside the pre-activation.
template <typename Real>
struct FastGrnnGates {
    std::size_t hidden_size;
    const Real* bias_gate;    // (hidden_size,)
    const Real* bias_update;  // (hidden_size,)
    Real zeta, nu;
};

// One time step of many sequences, given the pre-activation. A row is a sequence; rows lie `stride` numbers apart,
// those of `previous` lie `previous_stride` apart.
//   pre_candidate  (num_rows, hidden_size) in: a; out: c
//   previous       (num_rows, hidden_size) h
//   gate           (num_rows, hidden_size) out: z
//   hidden         (num_rows, hidden_size) out: h'
RUVLLM_KERNEL(void fastgrnn_cell(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride,
                                 const float* previous, std::size_t previous_stride, float* pre_candidate, float* gate,
                                 float* hidden))
void fastgrnn_cell(const FastGrnnGates<double>& gates, std::size_t num_rows, std::size_t stride,
                   const double* previous, std::size_t previous_stride, double* pre_candidate, double* gate,
                   double* hidden);

// Backward of fastgrnn_cell. With d = dL/dh':
//   g_h = d (zeta (1 - z) + nu) (1 - c c)       g_z = d (h - zeta c) z (1 - z)       g_a = g_h + g_z
//   candidate, gate, previous    as above, from forward
//   d_hidden                     rows `stride` apart, in: d; out: g_a
//   d_previous                   rows `previous_stride` apart, += d z, the part of dL/dh that does not pass through U
//   d_bias_gate, d_bias_update   (hidden_size,) += the sums of g_z and g_h over the rows
//   d_scalars                    (2,) += the sums of d (1 - z) c and of d c: dL/dzeta and dL/dnu
RUVLLM_KERNEL(void fastgrnn_cell_backward(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride,
                                          const float* candidate, const float* gate, const float* previous,
                                          std::size_t previous_stride, float* d_hidden, float* d_previous,
                                          float* d_bias_gate, float* d_bias_update, float* d_scalars))
void fastgrnn_cell_backward(const FastGrnnGates<double>& gates, std::size_t num_rows, std::size_t stride,
                            const double* candidate, const double* gate, const double* previous,
                            std::size_t previous_stride, double* d_hidden, double* d_previous, double* d_bias_gate,
                            double* d_bias_update, double* d_scalars);

// Adds `bias` to each row of `logits`, (num_rows, output_size), and applies the groups' activations, in place.
//   scratch  (16 * output_size,)
// A softmax subtracts its group's maximum first, so no finite logit overflows.
RUVLLM_KERNEL(void activate_heads(const HeadGroup* groups, std::size_t num_groups, const float* bias,
                                  std::size_t num_rows, std::size_t output_size, float* scratch, float* logits))
void activate_heads(const HeadGroup* groups, std::size_t num_groups, const double* bias, std::size_t num_rows,
                    std::size_t output_size, double* scratch, double* logits);

}  // namespace ruvllm::kernels
