// The parameters of a FastGRNN with heads: one flat buffer, and the forms of it that the kernels read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engines/aligned.hpp"
#include "kernels/csr.hpp"
#include "kernels/fastgrnn.hpp"

namespace ruvllm::engines {

// Sizes and forms. `w_rank` 0: W is dense, or sparse when `indptr` is not empty; `u_rank` 0: U is full.
struct FastGrnnConfig {
    std::size_t input_size, hidden_size, w_rank, u_rank;
    std::vector<std::int32_t> indptr, indices;  // the support of a sparse W, (hidden_size + 1,) and (nnz,)
    std::vector<kernels::HeadGroup> heads;

    bool is_sparse() const { return !indptr.empty(); }
    std::size_t output_size() const;
    kernels::CsrPattern pattern() const { return {indptr.data(), indices.data(), hidden_size, input_size}; }
};

// A named piece of the flat buffer, row-major. columns == 0: a vector of `rows` numbers.
struct FastGrnnField {
    std::string name;
    std::size_t offset, rows, columns;

    std::size_t size() const { return columns == 0 ? rows : rows * columns; }
};

// In this order:
//   w (hidden, input), or (nnz,) values in the order of the support, or w1 (hidden, w_rank), w2 (input, w_rank)
//   u (hidden, hidden), or u1 (hidden, u_rank), u2 (hidden, u_rank)
//   bias_gate, bias_update (hidden,); zeta_raw, nu_raw (1,)
//   head_weight (outputs, hidden), head_bias (outputs,)
std::vector<FastGrnnField> fastgrnn_layout(const FastGrnnConfig& config);

// Numbers in the flat buffer.
std::size_t fastgrnn_size(const FastGrnnConfig& config);

// Pointers into a flat buffer, of parameters or of gradients; null where a form has no such field.
template <typename Real>
struct FastGrnnPointers {
    Real *w, *w1, *w2, *u, *u1, *u2, *bias_gate, *bias_update, *zeta_raw, *nu_raw, *head_weight, *head_bias;

    FastGrnnPointers(const FastGrnnConfig& config, Real* flat);
};

// One set of parameters, which never changes; a swap replaces the whole object.
template <typename Real>
class FastGrnnParams {
  public:
    // `config` outlives this; `flat` (num_params,) finite, copied.
    FastGrnnParams(const FastGrnnConfig& config, const Real* flat);

    const FastGrnnConfig& config() const { return config_; }
    const std::vector<Real>& flat() const { return flat_; }
    const FastGrnnPointers<const Real>& at() const { return at_; }
    const kernels::FastGrnnWeights<Real>& weights() const { return weights_; }  // what one step reads
    kernels::FastGrnnGates<Real> gates() const;
    const Real* u2_transposed() const { return u2_transposed_; }  // (u_rank, padded(hidden_size))
    const Real* w2_transposed() const { return w2_transposed_; }  // (w_rank, padded(input_size))

  private:
    void pack_slots();

    const FastGrnnConfig& config_;
    std::vector<Real> flat_;
    FastGrnnPointers<const Real> at_;
    AlignedBuffer<Real> packed_;  // behind weights_, u2_transposed_ and w2_transposed_
    AlignedBuffer<Real> slot_values_;
    AlignedBuffer<std::int32_t> slot_columns_;
    std::vector<std::uint32_t> slot_windows_, group_ends_;
    const Real *u2_transposed_ = nullptr, *w2_transposed_ = nullptr;
    kernels::FastGrnnWeights<Real> weights_{};
};

extern template class FastGrnnParams<float>;
extern template class FastGrnnParams<double>;

}  // namespace ruvllm::engines
