#include "engines/fastgrnn_params.hpp"

#include <algorithm>
#include <array>

#include "kernels/sigmoid.hpp"

namespace ruvllm::engines {
namespace {

using kernels::kWindow;
using kernels::padded;

// Entry (i, j) of a matrix to pack lies at data[i * row_stride + j * column_stride].
template <typename Real>
struct Source {
    const Real* data;
    std::size_t row_stride, column_stride, rows, columns;
};

template <typename Real>
Source<Real> rows_of(const Real* data, std::size_t rows, std::size_t columns) {
    return {data, columns, 1, rows, columns};
}

template <typename Real>
Source<Real> transpose_of(const Real* data, std::size_t rows, std::size_t columns) {
    return {data, 1, columns, columns, rows};
}

// Copies `source` to (rows, padded(columns)) at `to`, which then moves behind it; returns where it began.
template <typename Real>
const Real* pack(const Source<Real>& source, Real*& to) {
    const Real* start = to;
    for (std::size_t i = 0; i < source.rows; ++i, to += padded(source.columns)) {
        for (std::size_t j = 0; j < source.columns; ++j) {
            to[j] = source.data[i * source.row_stride + j * source.column_stride];
        }
        std::fill(to + source.columns, to + padded(source.columns), Real{0});
    }
    return start;
}

}  // namespace

std::size_t FastGrnnConfig::output_size() const {
    std::size_t size = 0;
    for (const kernels::HeadGroup& group : heads) size += group.size;
    return size;
}

std::vector<FastGrnnField> fastgrnn_layout(const FastGrnnConfig& config) {
    std::vector<FastGrnnField> fields;
    const auto append = [&](const char* name, std::size_t rows, std::size_t columns) {
        const std::size_t offset = fields.empty() ? 0 : fields.back().offset + fields.back().size();
        fields.push_back({name, offset, rows, columns});
    };
    const std::size_t hidden = config.hidden_size, outputs = config.output_size();
    if (config.is_sparse()) {
        append("w", config.indices.size(), 0);
    } else if (config.w_rank == 0) {
        append("w", hidden, config.input_size);
    } else {
        append("w1", hidden, config.w_rank);
        append("w2", config.input_size, config.w_rank);
    }
    if (config.u_rank == 0) {
        append("u", hidden, hidden);
    } else {
        append("u1", hidden, config.u_rank);
        append("u2", hidden, config.u_rank);
    }
    append("bias_gate", hidden, 0);
    append("bias_update", hidden, 0);
    append("zeta_raw", 1, 0);
    append("nu_raw", 1, 0);
    if (outputs > 0) {
        append("head_weight", outputs, hidden);
        append("head_bias", outputs, 0);
    }
    return fields;
}

std::size_t fastgrnn_size(const FastGrnnConfig& config) {
    const FastGrnnField last = fastgrnn_layout(config).back();
    return last.offset + last.size();
}

template <typename Real>
FastGrnnPointers<Real>::FastGrnnPointers(const FastGrnnConfig& config, Real* flat) {
    const auto find = [&](const char* name) -> Real* {
        for (const FastGrnnField& field : fastgrnn_layout(config)) {
            if (field.name == name) return flat + field.offset;
        }
        return nullptr;
    };
    w = find("w");
    w1 = find("w1");
    w2 = find("w2");
    u = find("u");
    u1 = find("u1");
    u2 = find("u2");
    bias_gate = find("bias_gate");
    bias_update = find("bias_update");
    zeta_raw = find("zeta_raw");
    nu_raw = find("nu_raw");
    head_weight = find("head_weight");
    head_bias = find("head_bias");
}

template <typename Real>
FastGrnnParams<Real>::FastGrnnParams(const FastGrnnConfig& config, const Real* flat)
    : config_(config),
      flat_(flat, flat + fastgrnn_size(config)),
      at_(config, static_cast<const Real*>(flat_.data())) {
    const std::size_t inputs = config.input_size, hidden = config.hidden_size, outputs = config.output_size();
    const std::size_t w_rank = config.w_rank, u_rank = config.u_rank;
    std::size_t size = hidden * padded(u_rank == 0 ? hidden : u_rank) + 2 * u_rank * padded(hidden);
    size += 2 * padded(hidden) + (hidden + 1) * padded(outputs);
    if (!config.is_sparse()) size += inputs * padded(w_rank == 0 ? hidden : w_rank);
    packed_ = AlignedBuffer<Real>(size + w_rank * (padded(hidden) + padded(inputs)));

    Real* to = packed_.data();
    kernels::FastGrnnWeights<Real>& weights = weights_;
    weights.input_size = inputs;
    weights.hidden_size = hidden;
    weights.w_rank = w_rank;
    weights.u_rank = u_rank;
    if (config.is_sparse()) {
        pack_slots();
    } else if (w_rank == 0) {
        weights.w = pack(transpose_of(at_.w, hidden, inputs), to);
    } else {
        weights.w = pack(rows_of(at_.w2, inputs, w_rank), to);
        weights.w1 = pack(transpose_of(at_.w1, hidden, w_rank), to);
        w2_transposed_ = pack(transpose_of(at_.w2, inputs, w_rank), to);
    }
    if (u_rank == 0) {
        weights.u = pack(transpose_of(at_.u, hidden, hidden), to);
    } else {
        weights.u = pack(rows_of(at_.u2, hidden, u_rank), to);
        weights.u1 = pack(transpose_of(at_.u1, hidden, u_rank), to);
        u2_transposed_ = pack(transpose_of(at_.u2, hidden, u_rank), to);
    }
    weights.bias_gate = pack(rows_of(at_.bias_gate, 1, hidden), to);
    weights.bias_update = pack(rows_of(at_.bias_update, 1, hidden), to);
    weights.zeta = kernels::sigmoid(*at_.zeta_raw);
    weights.nu = kernels::sigmoid(*at_.nu_raw);
    weights.output_size = outputs;
    if (outputs > 0) {
        weights.head_weight = pack(transpose_of(at_.head_weight, outputs, hidden), to);
        weights.head_bias = pack(rows_of(at_.head_bias, 1, outputs), to);
    }
    weights.groups = config.heads.data();
    weights.num_groups = config.heads.size();
}

template <typename Real>
kernels::FastGrnnGates<Real> FastGrnnParams<Real>::gates() const {
    return {config_.hidden_size, at_.bias_gate, at_.bias_update, weights_.zeta, weights_.nu};
}

// A lane takes its next entry of a window in each slot: a window needs as many slots as its fullest lane has entries.
template <typename Real>
void FastGrnnParams<Real>::pack_slots() {
    std::vector<std::int32_t> columns;
    std::vector<Real> values;
    for (std::size_t first = 0; first < config_.hidden_size; first += kWindow) {
        const std::size_t lanes = std::min(kWindow, config_.hidden_size - first);
        std::array<std::int32_t, kWindow> next{};
        std::copy_n(config_.indptr.begin() + static_cast<std::ptrdiff_t>(first), lanes, next.begin());
        for (std::size_t window = 0; window < config_.input_size; window += kWindow) {
            for (bool is_done = false; !is_done;) {
                is_done = true;
                std::array<std::int32_t, kWindow> slot_columns{};
                std::array<Real, kWindow> slot_values{};
                for (std::size_t lane = 0; lane < lanes; ++lane) {
                    std::int32_t& entry = next[lane];
                    if (entry == config_.indptr[first + lane + 1]) continue;
                    const auto column = static_cast<std::size_t>(config_.indices[static_cast<std::size_t>(entry)]);
                    if (column >= window + kWindow) continue;
                    slot_columns[lane] = static_cast<std::int32_t>(column - window);
                    slot_values[lane] = at_.w[entry++];
                    is_done = false;
                }
                if (is_done) break;
                slot_windows_.push_back(static_cast<std::uint32_t>(window));
                columns.insert(columns.end(), slot_columns.begin(), slot_columns.end());
                values.insert(values.end(), slot_values.begin(), slot_values.end());
            }
        }
        group_ends_.push_back(static_cast<std::uint32_t>(slot_windows_.size()));
    }
    slot_columns_ = AlignedBuffer<std::int32_t>(columns.size());
    slot_values_ = AlignedBuffer<Real>(values.size());
    std::copy(columns.begin(), columns.end(), slot_columns_.data());
    std::copy(values.begin(), values.end(), slot_values_.data());
    weights_.slots = {group_ends_.data(), slot_windows_.data(), slot_columns_.data(), slot_values_.data()};
}

template struct FastGrnnPointers<float>;
template struct FastGrnnPointers<const float>;
template struct FastGrnnPointers<double>;
template struct FastGrnnPointers<const double>;
template class FastGrnnParams<float>;
template class FastGrnnParams<double>;

}  // namespace ruvllm::engines
