// The definition, in float32 and in double.
#include <algorithm>
#include <cmath>

#include "kernels/fastgrnn.hpp"
#include "kernels/sigmoid.hpp"

namespace ruvllm::kernels {
namespace {

// y += scale * matrix^T x, matrix (num_inputs, padded(num_outputs)).
template <typename Weight, typename Real>
void add_product(const Weight* matrix, const Real* x, std::size_t num_inputs, std::size_t num_outputs, Real scale,
                 Real* y) {
    const std::size_t stride = padded(num_outputs);
    for (std::size_t i = 0; i < num_outputs; ++i) {
        Real acc = 0;
        for (std::size_t j = 0; j < num_inputs; ++j) acc += static_cast<Real>(matrix[j * stride + i]) * x[j];
        y[i] += scale * acc;
    }
}

template <typename Real>
void add_sparse_product(const SparseSlots<Real>& slots, const Real* x, std::size_t num_outputs, Real* y) {
    std::size_t slot = 0;
    for (std::size_t group = 0; group * kWindow < num_outputs; ++group) {
        for (; slot < slots.group_ends[group]; ++slot) {
            for (std::size_t lane = 0; lane < kWindow; ++lane) {
                const Real value = slots.values[slot * kWindow + lane];  // 0: the lane, or the whole output, is padding
                const auto column = static_cast<std::size_t>(slots.columns[slot * kWindow + lane]);
                if (value != 0) y[group * kWindow + lane] += value * x[slots.windows[slot] + column];
            }
        }
    }
}

template <typename Real>
void activate(const HeadGroup* groups, std::size_t num_groups, Real* logits) {
    for (const HeadGroup* group = groups; group != groups + num_groups; logits += group->size, ++group) {
        if (group->activation == HeadActivation::sigmoid) {
            for (std::size_t i = 0; i < group->size; ++i) logits[i] = sigmoid(logits[i]);
        } else if (group->activation == HeadActivation::softmax) {
            const Real largest = *std::max_element(logits, logits + group->size);
            Real total = 0;
            for (std::size_t i = 0; i < group->size; ++i) total += logits[i] = std::exp(logits[i] - largest);
            for (std::size_t i = 0; i < group->size; ++i) logits[i] /= total;
        }
    }
}

// What follows the pre-activation: gate, candidate, state, heads.
template <typename Weights, typename Weight, typename Real>
void finish_step(const Weights& weights, const Weight* head_weight, Real head_scale, const Real* a, const Real* h,
                 Real* new_h, Real* outputs) {
    for (std::size_t i = 0; i < weights.hidden_size; ++i) {
        const Real z = sigmoid(a[i] + weights.bias_gate[i]), c = std::tanh(a[i] + weights.bias_update[i]);
        new_h[i] = (weights.zeta * (1 - z) + weights.nu) * c + z * h[i];
    }
    std::copy_n(weights.head_bias, weights.output_size, outputs);
    add_product(head_weight, new_h, weights.hidden_size, weights.output_size, head_scale, outputs);
    activate(weights.groups, weights.num_groups, outputs);
}

template <typename Real>
void step(const FastGrnnWeights<Real>& weights, const Real* x, const Real* h, Real* scratch, Real* new_h,
          Real* outputs) {
    const std::size_t num_inputs = weights.input_size, size = weights.hidden_size;
    Real* a = scratch;
    Real* p = a + padded(size);
    Real* q = p + padded(weights.w_rank);
    std::fill(scratch, q + padded(weights.u_rank), Real{0});
    if (!weights.w) {
        add_sparse_product(weights.slots, x, size, a);
    } else if (weights.w_rank == 0) {
        add_product(weights.w, x, num_inputs, size, Real{1}, a);
    } else {
        add_product(weights.w, x, num_inputs, weights.w_rank, Real{1}, p);  // p = W2^T x
        add_product(weights.w1, p, weights.w_rank, size, Real{1}, a);
    }
    if (weights.u_rank == 0) {
        add_product(weights.u, h, size, size, Real{1}, a);
    } else {
        add_product(weights.u, h, size, weights.u_rank, Real{1}, q);  // q = U2^T h
        add_product(weights.u1, q, weights.u_rank, size, Real{1}, a);
    }
    finish_step(weights, weights.head_weight, Real{1}, a, h, new_h, outputs);
}

template <typename Real>
void cell(const FastGrnnGates<Real>& gates, std::size_t num_rows, std::size_t stride, const Real* previous,
          std::size_t previous_stride, Real* pre_candidate, Real* gate, Real* hidden) {
    for (std::size_t row = 0; row < num_rows; ++row) {
        for (std::size_t i = 0; i < gates.hidden_size; ++i) {
            const std::size_t at = row * stride + i;
            const Real a = pre_candidate[at], h = previous[row * previous_stride + i];
            const Real z = sigmoid(a + gates.bias_gate[i]), c = std::tanh(a + gates.bias_update[i]);
            hidden[at] = (gates.zeta * (1 - z) + gates.nu) * c + z * h;
            gate[at] = z;
            pre_candidate[at] = c;
        }
    }
}

template <typename Real>
void cell_backward(const FastGrnnGates<Real>& gates, std::size_t num_rows, std::size_t stride, const Real* candidate,
                   const Real* gate, const Real* previous, std::size_t previous_stride, Real* d_hidden,
                   Real* d_previous, Real* d_bias_gate, Real* d_bias_update, Real* d_scalars) {
    Real d_zeta = 0, d_nu = 0;
    for (std::size_t row = 0; row < num_rows; ++row) {
        for (std::size_t i = 0; i < gates.hidden_size; ++i) {
            const std::size_t at = row * stride + i, before = row * previous_stride + i;
            const Real d = d_hidden[at], z = gate[at], c = candidate[at], h = previous[before];
            const Real g_h = d * (gates.zeta * (1 - z) + gates.nu) * (1 - c * c);
            const Real g_z = d * (h - gates.zeta * c) * z * (1 - z);
            d_bias_update[i] += g_h;
            d_bias_gate[i] += g_z;
            d_zeta += d * (1 - z) * c;
            d_nu += d * c;
            d_hidden[at] = g_h + g_z;
            d_previous[before] += d * z;
        }
    }
    d_scalars[0] += d_zeta;
    d_scalars[1] += d_nu;
}

template <typename Real>
void activate_rows(const HeadGroup* groups, std::size_t num_groups, const Real* bias, std::size_t num_rows,
                   std::size_t output_size, Real* logits) {
    for (std::size_t row = 0; row < num_rows; ++row, logits += output_size) {
        for (std::size_t i = 0; i < output_size; ++i) logits[i] += bias[i];
        activate(groups, num_groups, logits);
    }
}

}  // namespace

namespace scalar {

void fastgrnn_step(const FastGrnnWeights<float>& weights, const float* x, const float* h, float* scratch, float* new_h,
                   float* outputs) {
    step(weights, x, h, scratch, new_h, outputs);
}

void fastgrnn_step_int8(const FastGrnnInt8Weights& weights, const float* x, const float* h, float* scratch,
                        float* new_h, float* outputs) {
    const std::size_t num_inputs = weights.input_size, size = weights.hidden_size;
    float* a = scratch;
    float* p = a + padded(size);
    float* q = p + padded(weights.w_rank);
    std::fill(scratch, q + padded(weights.u_rank), 0.0f);
    if (weights.indptr) {
        for (std::size_t i = 0; i < size; ++i) {
            for (std::size_t k = weights.indptr[i]; k < weights.indptr[i + 1]; ++k) {
                a[i] += static_cast<float>(weights.w[k]) * x[weights.indices[k]];
            }
            a[i] *= weights.w_scale;
        }
    } else if (weights.w_rank == 0) {
        add_product(weights.w, x, num_inputs, size, weights.w_scale, a);
    } else {
        add_product(weights.w, x, num_inputs, weights.w_rank, weights.w_scale, p);
        add_product(weights.w1, p, weights.w_rank, size, weights.w1_scale, a);
    }
    if (weights.u_rank == 0) {
        add_product(weights.u, h, size, size, weights.u_scale, a);
    } else {
        add_product(weights.u, h, size, weights.u_rank, weights.u_scale, q);
        add_product(weights.u1, q, weights.u_rank, size, weights.u1_scale, a);
    }
    finish_step(weights, weights.head_weight, weights.head_scale, a, h, new_h, outputs);
}

void fastgrnn_cell(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride, const float* previous,
                   std::size_t previous_stride, float* pre_candidate, float* gate, float* hidden) {
    cell(gates, num_rows, stride, previous, previous_stride, pre_candidate, gate, hidden);
}

void fastgrnn_cell_backward(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride,
                            const float* candidate, const float* gate, const float* previous,
                            std::size_t previous_stride, float* d_hidden, float* d_previous, float* d_bias_gate,
                            float* d_bias_update, float* d_scalars) {
    cell_backward(gates, num_rows, stride, candidate, gate, previous, previous_stride, d_hidden, d_previous,
                  d_bias_gate, d_bias_update, d_scalars);
}

void activate_heads(const HeadGroup* groups, std::size_t num_groups, const float* bias, std::size_t num_rows,
                    std::size_t output_size, float*, float* logits) {
    activate_rows(groups, num_groups, bias, num_rows, output_size, logits);
}

}  // namespace scalar

void fastgrnn_step(const FastGrnnWeights<double>& weights, const double* x, const double* h, double* scratch,
                   double* new_h, double* outputs) {
    step(weights, x, h, scratch, new_h, outputs);
}

void fastgrnn_cell(const FastGrnnGates<double>& gates, std::size_t num_rows, std::size_t stride, const double* previous,
                   std::size_t previous_stride, double* pre_candidate, double* gate, double* hidden) {
    cell(gates, num_rows, stride, previous, previous_stride, pre_candidate, gate, hidden);
}

void fastgrnn_cell_backward(const FastGrnnGates<double>& gates, std::size_t num_rows, std::size_t stride,
                            const double* candidate, const double* gate, const double* previous,
                            std::size_t previous_stride, double* d_hidden, double* d_previous, double* d_bias_gate,
                            double* d_bias_update, double* d_scalars) {
    cell_backward(gates, num_rows, stride, candidate, gate, previous, previous_stride, d_hidden, d_previous,
                  d_bias_gate, d_bias_update, d_scalars);
}

void activate_heads(const HeadGroup* groups, std::size_t num_groups, const double* bias, std::size_t num_rows,
                    std::size_t output_size, double*, double* logits) {
    activate_rows(groups, num_groups, bias, num_rows, output_size, logits);
}

}  // namespace ruvllm::kernels
