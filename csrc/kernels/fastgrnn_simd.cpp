// Lanes are outputs: hidden units, or numbers of one row. Packed matrices end on whole vectors, so only what belongs to
// the caller has tails.
#include "kernels/fastgrnn.hpp"
#include "kernels/simd.hpp"
#include "kernels/simd_blocks.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

// V vectors of y += scale * matrix^T x. A single chain of sums would wait for itself: I inputs have sums of their own.
template <std::size_t V, std::size_t I, typename Weight>
void add_product_block(const Weight* matrix, std::size_t stride, const float* x, std::size_t num_inputs, F32 scale,
                       float* y) {
    F32 acc[I][V];
    for (std::size_t s = 0; s < I; ++s) {
        for (std::size_t v = 0; v < V; ++v) acc[s][v] = zeros();
    }
    std::size_t j = 0;
    for (; j + I <= num_inputs; j += I) {
        for (std::size_t s = 0; s < I; ++s) {
            const F32 input = set(x[j + s]);
            for (std::size_t v = 0; v < V; ++v) {
                acc[s][v] = fma(load(matrix + (j + s) * stride + v * kLanes), input, acc[s][v]);
            }
        }
    }
    for (; j < num_inputs; ++j) {
        for (std::size_t v = 0; v < V; ++v) {
            acc[0][v] = fma(load(matrix + j * stride + v * kLanes), set(x[j]), acc[0][v]);
        }
    }
    for (std::size_t v = 0; v < V; ++v) {
        F32 total = acc[0][v];
        for (std::size_t s = 1; s < I; ++s) total = add(total, acc[s][v]);
        store(y + v * kLanes, fma(total, scale, load(y + v * kLanes)));
    }
}

// y (padded(num_outputs),) += scale * matrix^T x, matrix (num_inputs, padded(num_outputs)).
template <typename Weight>
void add_product(const Weight* matrix, const float* x, std::size_t num_inputs, std::size_t num_outputs, float scale,
                 float* y) {
    const std::size_t stride = padded(num_outputs);
    const F32 factor = set(scale);
    std::size_t i = 0;
    for (; i + 4 * kLanes <= stride; i += 4 * kLanes) {
        add_product_block<4, 2>(matrix + i, stride, x, num_inputs, factor, y + i);
    }
    for (; i < stride; i += kLanes) add_product_block<1, 8>(matrix + i, stride, x, num_inputs, factor, y + i);
}

// y (padded(num_outputs),) += W x; x is readable up to padded(input_size).
void add_sparse_product(const SparseSlots<float>& slots, const float* x, std::size_t num_outputs, float* y) {
    std::size_t slot = 0;
    for (std::size_t group = 0; group * kWindow < num_outputs; ++group) {
        constexpr std::size_t kVectors = kWindow / kLanes;
        const std::size_t end = slots.group_ends[group];
        F32 even[kVectors], odd[kVectors];
        for (std::size_t v = 0; v < kVectors; ++v) {
            even[v] = load(y + group * kWindow + v * kLanes);
            odd[v] = zeros();
        }
        const auto add_slot = [&](std::size_t s, F32* acc) {
            const float* window = x + slots.windows[s];
            for (std::size_t v = 0; v < kVectors; ++v) {
                const std::size_t at = s * kWindow + v * kLanes;
                acc[v] = fma(lookup_16(window, slots.columns + at), load(slots.values + at), acc[v]);
            }
        };
        for (; slot + 2 <= end; slot += 2) {
            add_slot(slot, even);
            add_slot(slot + 1, odd);
        }
        for (; slot < end; ++slot) add_slot(slot, even);
        for (std::size_t v = 0; v < kVectors; ++v) {
            store(y + group * kWindow + v * kLanes, add(even[v], odd[v]));
        }
    }
}

// Calls visit(first, lanes_or_all) over [0, size): whole vectors, then a masked tail.
template <typename Visit>
void for_each_vector(std::size_t size, Visit visit) {
    std::size_t i = 0;
    for (; i + kLanes <= size; i += kLanes) {
        visit(i, [](const float* p) { return load(p); }, [](float* p, F32 value) { store(p, value); });
    }
    if (i < size) {
        const Mask tail = first_lanes(size - i);
        visit(i, [=](const float* p) { return load(p, tail); }, [=](float* p, F32 value) { store(p, value, tail); });
    }
}

// One row: logits (padded(size),) in place. One pass gives every e^-|x|, which is e^x where a softmax has subtracted
// its maximum, and all that a sigmoid needs; `e` (padded(size),) is scratch.
void activate(const HeadGroup* groups, std::size_t num_groups, std::size_t size, float* logits, float* e) {
    float* row = logits;
    for (const HeadGroup* group = groups; group != groups + num_groups; row += group->size, ++group) {
        if (group->activation != HeadActivation::softmax) continue;
        float largest = row[0];
        for (std::size_t i = 1; i < group->size; ++i) largest = row[i] > largest ? row[i] : largest;
        for (std::size_t i = 0; i < group->size; ++i) row[i] -= largest;
    }
    for (std::size_t i = 0; i < padded(size); i += kLanes) store(e + i, exp(sub(zeros(), abs(load(logits + i)))));
    for (const HeadGroup* group = groups; group != groups + num_groups; ++group) {
        if (group->activation == HeadActivation::softmax) {
            float total = 0.0f;
            for (std::size_t i = 0; i < group->size; ++i) total += e[i];
            for (std::size_t i = 0; i < group->size; ++i) logits[i] = e[i] / total;
        } else if (group->activation == HeadActivation::sigmoid) {
            for (std::size_t i = 0; i < group->size; ++i) logits[i] = (logits[i] < 0.0f ? e[i] : 1.0f) / (1.0f + e[i]);
        }
        logits += group->size;
        e += group->size;
    }
}

// h' from the pre-activation a, and z, c by the way.
inline F32 new_state(F32 a, F32 h, F32 bias_gate, F32 bias_update, F32 zeta, F32 nu, F32& z, F32& c) {
    z = sigmoid(add(a, bias_gate));
    c = tanh(add(a, bias_update));
    return fma(z, h, mul(fma(zeta, sub(set(1.0f), z), nu), c));
}

// What follows the pre-activation: gate, candidate, state, heads. `logits` (2, padded(output_size)) is scratch.
template <typename Weights, typename Weight>
void finish_step(const Weights& weights, const Weight* head_weight, float head_scale, const float* a, const float* h,
                 float* logits, float* new_h, float* outputs) {
    const F32 zeta = set(weights.zeta), nu = set(weights.nu);
    for_each_vector(weights.hidden_size, [&](std::size_t i, auto get, auto put) {
        F32 z, c;
        put(new_h + i, new_state(load(a + i), get(h + i), load(weights.bias_gate + i), load(weights.bias_update + i),
                                 zeta, nu, z, c));
    });
    for (std::size_t i = 0; i < padded(weights.output_size); i += kLanes) {
        store(logits + i, load(weights.head_bias + i));
    }
    add_product(head_weight, new_h, weights.hidden_size, weights.output_size, head_scale, logits);
    activate(weights.groups, weights.num_groups, weights.output_size, logits, logits + padded(weights.output_size));
    for_each_vector(weights.output_size, [=](std::size_t i, auto, auto put) { put(outputs + i, load(logits + i)); });
}

// Where the parts of the scratch memory of one step begin; a, p and q start as zeros.
struct StepScratch {
    float *a, *p, *q, *x, *logits;

    template <typename Weights>
    StepScratch(const Weights& weights, float* scratch)
        : a(scratch), p(a + padded(weights.hidden_size)), q(p + padded(weights.w_rank)),
          x(q + padded(weights.u_rank)), logits(x + padded(weights.input_size)) {
        for (float* at = scratch; at != x; at += kLanes) store(at, zeros());
    }
};

}  // namespace

void fastgrnn_step(const FastGrnnWeights<float>& weights, const float* x, const float* h, float* scratch, float* new_h,
                   float* outputs) {
    const std::size_t num_inputs = weights.input_size, size = weights.hidden_size;
    const StepScratch s(weights, scratch);
    if (!weights.w) {
        if (num_inputs != padded(num_inputs)) {  // the last window would read past the end
            for_each_vector(num_inputs, [&](std::size_t i, auto get, auto) { store(s.x + i, get(x + i)); });
            x = s.x;
        }
        add_sparse_product(weights.slots, x, size, s.a);
    } else if (weights.w_rank == 0) {
        add_product(weights.w, x, num_inputs, size, 1.0f, s.a);
    } else {
        add_product(weights.w, x, num_inputs, weights.w_rank, 1.0f, s.p);  // p = W2^T x
        add_product(weights.w1, s.p, weights.w_rank, size, 1.0f, s.a);
    }
    if (weights.u_rank == 0) {
        add_product(weights.u, h, size, size, 1.0f, s.a);
    } else {
        add_product(weights.u, h, size, weights.u_rank, 1.0f, s.q);  // q = U2^T h
        add_product(weights.u1, s.q, weights.u_rank, size, 1.0f, s.a);
    }
    finish_step(weights, weights.head_weight, 1.0f, s.a, h, s.logits, new_h, outputs);
}

void fastgrnn_step_int8(const FastGrnnInt8Weights& weights, const float* x, const float* h, float* scratch,
                        float* new_h, float* outputs) {
    const std::size_t num_inputs = weights.input_size, size = weights.hidden_size;
    const StepScratch s(weights, scratch);
    if (weights.indptr) {
        for (std::size_t i = 0; i < size; ++i) {
            float acc = 0.0f;
            for (std::size_t k = weights.indptr[i]; k < weights.indptr[i + 1]; ++k) {
                acc += static_cast<float>(weights.w[k]) * x[weights.indices[k]];
            }
            s.a[i] = weights.w_scale * acc;
        }
    } else if (weights.w_rank == 0) {
        add_product(weights.w, x, num_inputs, size, weights.w_scale, s.a);
    } else {
        add_product(weights.w, x, num_inputs, weights.w_rank, weights.w_scale, s.p);
        add_product(weights.w1, s.p, weights.w_rank, size, weights.w1_scale, s.a);
    }
    if (weights.u_rank == 0) {
        add_product(weights.u, h, size, size, weights.u_scale, s.a);
    } else {
        add_product(weights.u, h, size, weights.u_rank, weights.u_scale, s.q);
        add_product(weights.u1, s.q, weights.u_rank, size, weights.u1_scale, s.a);
    }
    finish_step(weights, weights.head_weight, weights.head_scale, s.a, h, s.logits, new_h, outputs);
}

// Rows one after the other, each in whole: rows that lie a power of two apart would push each other out of the cache.
void fastgrnn_cell(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride, const float* previous,
                   std::size_t previous_stride, float* pre_candidate, float* gate, float* hidden) {
    const F32 zeta = set(gates.zeta), nu = set(gates.nu);
    for (std::size_t row = 0; row < num_rows; ++row) {
        for_each_vector(gates.hidden_size, [&](std::size_t i, auto get, auto put) {
            const std::size_t at = row * stride + i;
            const F32 h = get(previous + row * previous_stride + i);
            F32 z, c;
            put(hidden + at, new_state(get(pre_candidate + at), h, get(gates.bias_gate + i),
                                       get(gates.bias_update + i), zeta, nu, z, c));
            put(gate + at, z);
            put(pre_candidate + at, c);
        });
    }
}

void fastgrnn_cell_backward(const FastGrnnGates<float>& gates, std::size_t num_rows, std::size_t stride,
                            const float* candidate, const float* gate, const float* previous,
                            std::size_t previous_stride, float* d_hidden, float* d_previous, float* d_bias_gate,
                            float* d_bias_update, float* d_scalars) {
    const F32 zeta = set(gates.zeta), nu = set(gates.nu), one = set(1.0f);
    F32 d_zeta = zeros(), d_nu = zeros();  // the lanes past the end of a row add 0: their d is 0
    for (std::size_t row = 0; row < num_rows; ++row) {
        for_each_vector(gates.hidden_size, [&](std::size_t i, auto get, auto put) {
            const std::size_t at = row * stride + i, before = row * previous_stride + i;
            const F32 d = get(d_hidden + at), z = get(gate + at), c = get(candidate + at), h = get(previous + before);
            const F32 closed = sub(one, z), d_c = mul(d, c);
            const F32 g_h = mul(mul(d, fma(zeta, closed, nu)), fnma(c, c, one));
            const F32 g_z = mul(mul(d, fnma(zeta, c, h)), mul(z, closed));
            put(d_bias_update + i, add(get(d_bias_update + i), g_h));
            put(d_bias_gate + i, add(get(d_bias_gate + i), g_z));
            d_zeta = fma(d_c, closed, d_zeta);
            d_nu = add(d_nu, d_c);
            put(d_hidden + at, add(g_h, g_z));
            put(d_previous + before, fma(d, z, get(d_previous + before)));
        });
    }
    d_scalars[0] += sum(d_zeta);
    d_scalars[1] += sum(d_nu);
}

void activate_heads(const HeadGroup* groups, std::size_t num_groups, const float* bias, std::size_t num_rows,
                    std::size_t output_size, float* scratch, float* logits) {
    for (std::size_t row = 0; row < num_rows; row += kLanes) {
        const std::size_t count = row + kLanes <= num_rows ? kLanes : num_rows - row;
        load_transposed(logits + row * output_size, count, output_size, scratch);
        for (std::size_t i = 0; i < output_size; ++i) {
            store(scratch + i * kLanes, add(load(scratch + i * kLanes), set(bias[i])));
        }
        float* block = scratch;  // (size of the group, kLanes): a lane is a row
        for (const HeadGroup* group = groups; group != groups + num_groups; block += group->size * kLanes, ++group) {
            const std::size_t end = group->size * kLanes;
            if (group->activation == HeadActivation::sigmoid) {
                for (std::size_t i = 0; i < end; i += kLanes) store(block + i, sigmoid(load(block + i)));
            } else if (group->activation == HeadActivation::softmax) {
                F32 largest = load(block), total = zeros();
                for (std::size_t i = kLanes; i < end; i += kLanes) largest = max(largest, load(block + i));
                for (std::size_t i = 0; i < end; i += kLanes) {
                    const F32 e = exp(sub(load(block + i), largest));
                    store(block + i, e);
                    total = add(total, e);
                }
                for (std::size_t i = 0; i < end; i += kLanes) store(block + i, div(load(block + i), total));
            }
        }
        store_transposed(scratch, count, output_size, logits + row * output_size);
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
