#include "runtime/linear.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/half.hpp"
#include "kernels/matmul.hpp"

namespace ruvllm::runtime {
namespace {

using kernels::kGroup;
using kernels::kInt4Group;
using kernels::kPanel;
using kernels::kPanelColumns;
using kernels::padded_to;

// Rows of one stored matrix.
struct Part {
    const Variable* weight;
    const Variable* scales;  // int8: one a row; int4: one a group; float32: null
    std::size_t first, rows;
};

// W = Q / scale: the scale multiplied when it was quantized.
float row_scale_of(const std::string& name, float scale) {
    if (!(scale > 0.0f) || !std::isfinite(1.0f / scale) || !std::isfinite(scale)) {
        throw BadModel("model.bin: " + name + " holds a scale that is not positive and finite");
    }
    return 1.0f / scale;
}

void require_shape(const std::string& name, const Variable& variable, const std::vector<std::size_t>& shape) {
    if (variable.shape == shape) return;
    throw BadModel("model.bin: " + name + " has shape " + shape_text(variable.shape) + ", not " + shape_text(shape));
}

}  // namespace

void Activations::reserve(std::size_t m, std::size_t size, bool quantized) {
    size_ = size;
    is_quantized_ = quantized;
    rows_.reserve(m * size);
    if (!quantized) return;
    k_ = padded_to(size, kGroup);
    values_.reserve(m * k_);
    scales_.reserve(m * k_ / kGroup);
    offsets_.reserve(m * k_ / kGroup);
    sums_.reserve(m * k_ / kInt4Group);
}

void Activations::finish(std::size_t first, std::size_t end) {
    if (!is_quantized_ || first == end) return;
    kernels::quantize_rows(row(first), size_, end - first, size_, values_.data() + first * k_,
                           scales_.data() + first * (k_ / kGroup), offsets_.data() + first * (k_ / kGroup),
                           sums_.data() + first * (k_ / kInt4Group));
}

kernels::QuantizedRows Activations::quantized() const { return {values_.data(), scales_.data(), offsets_.data(), sums_.data(), k_}; }

Linear::Linear(ModelFile& file, const std::vector<std::string>& names, const std::vector<std::size_t>& rows,
               std::size_t columns, Arena& arena, ThreadPool& pool)
    : num_columns_(columns) {
    std::vector<Part> parts;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const bool is_int4 = file.has(names[i] + "/qweight");
        const Variable& weight = file.get(names[i] + (is_int4 ? "/qweight" : "/weight"));
        const Kind kind = is_int4 ? Kind::int4 : weight.type == DataType::int8 ? Kind::int8 : Kind::float32;
        if (kind == Kind::float32 && !is_float(weight.type)) {
            throw BadModel("model.bin: " + names[i] + "/weight is neither floating-point nor int8");
        }
        if (i > 0 && kind != kind_) throw BadModel("model.bin: " + names[i] + " is quantized unlike " + names[0]);
        kind_ = kind;
        const std::size_t groups = (columns + kInt4Group - 1) / kInt4Group;
        const Variable* scales = nullptr;
        if (kind == Kind::int4) {
            require_shape(names[i] + "/qweight", weight, {rows[i], groups * kInt4Group / 2});
            scales = &file.get(names[i] + "/qscales");
            require_shape(names[i] + "/qscales", *scales, {rows[i], groups});
            if (weight.type != DataType::int8 || scales->type != DataType::float16) {
                throw BadModel("model.bin: " + names[i] + "/qweight must be int8 and its qscales float16");
            }
            for (std::size_t j = 0; j < scales->size(); ++j) {
                if (std::isfinite(float_at(*scales, j))) continue;
                throw BadModel("model.bin: " + names[i] + "/qscales holds a NaN or an infinity");
            }
        } else {
            require_shape(names[i] + "/weight", weight, {rows[i], columns});
            if (kind == Kind::int8) {
                scales = &file.get(names[i] + "/weight_scale");
                require_shape(names[i] + "/weight_scale", *scales, {rows[i]});
                if (scales->type != DataType::float32) {
                    throw BadModel("model.bin: " + names[i] + "/weight_scale is not float32");
                }
            }
        }
        if (rows[i] == 0 || columns == 0) throw BadModel("model.bin: " + names[i] + " has no rows or no columns");
        parts.push_back({&weight, scales, num_rows_, rows[i]});
        num_rows_ += rows[i];
    }

    const std::size_t padded = padded_to(num_rows_, unit()), panels = padded / unit();
    k_ = kind_ == Kind::float32 ? columns : padded_to(columns, kGroup);
    num_panel_bytes_ = panels * panel_bytes();
    panels_ = arena.take(num_panel_bytes_);
    bias_.reserve(padded);
    std::fill_n(bias_.data(), padded, 0.0f);
    if (kind_ == Kind::int8) {
        row_scales_.reserve(padded);
        std::fill_n(row_scales_.data(), padded, 0.0f);
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
        const Part& part = parts[i];
        const auto bias = file.floats_if_there(names[i] + "/bias", {part.rows});
        std::copy(bias.begin(), bias.end(), bias_.data() + part.first);
        has_bias_ = has_bias_ || !bias.empty();
        for (std::size_t row = 0; kind_ == Kind::int8 && row < part.rows; ++row) {
            row_scales_.data()[part.first + row] = row_scale_of(names[i] + "/weight_scale", float_at(*part.scales, row));
        }
    }

    const auto part_of = [&](std::size_t row) {
        return &*std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return row < p.first + p.rows; });
    };
    std::atomic<bool> is_finite{true};
    pool.split(panels, [&](std::size_t first, std::size_t end) {
        for (std::size_t panel = first; panel < end; ++panel) {
            std::uint8_t* to = panels_ + panel * panel_bytes();
            if (kind_ == Kind::float32) {
                auto* values = reinterpret_cast<float*>(to);
                for (std::size_t j = 0; j < kPanelColumns; ++j) {
                    const std::size_t row = panel * kPanelColumns + j;
                    const Part* part = row < num_rows_ ? part_of(row) : nullptr;
                    for (std::size_t i = 0; i < columns; ++i) {
                        const float w =
                            part == nullptr ? 0.0f : float_at(*part->weight, (row - part->first) * columns + i);
                        if (!std::isfinite(w)) is_finite = false;
                        values[i * kPanelColumns + j] = w;
                    }
                }
                continue;
            }
            const std::int8_t* whole[kPanel] = {};
            const std::uint8_t *codes[kPanel] = {}, *scales[kPanel] = {};
            for (std::size_t j = 0; j < kPanel && panel * kPanel + j < num_rows_; ++j) {
                const Part* part = part_of(panel * kPanel + j);
                const std::size_t row = panel * kPanel + j - part->first;
                const std::size_t row_bytes = part->weight->bytes / part->rows;
                codes[j] = part->weight->data + row * row_bytes;
                whole[j] = reinterpret_cast<const std::int8_t*>(codes[j]);
                if (kind_ == Kind::int4) scales[j] = part->scales->data + row * (part->scales->bytes / part->rows);
            }
            if (kind_ == Kind::int8) {
                kernels::pack_int8_panel(whole, columns, to);
            } else {
                kernels::pack_int4_panel(codes, scales, columns, to);
            }
        }
    });
    if (!is_finite) throw BadModel("model.bin: " + names[0] + "/weight holds a NaN or an infinity");
}

std::size_t Linear::unit() const { return kind_ == Kind::float32 ? kPanelColumns : kPanel; }

std::size_t Linear::step() const {
    constexpr std::size_t kStepBytes = 32 * 1024;  // long enough for a walk over memory to get going
    return std::max<std::size_t>(1, kStepBytes / panel_bytes());
}

std::size_t Linear::panel_bytes() const {
    switch (kind_) {
        case Kind::float32: return k_ * kPanelColumns * sizeof(float);
        case Kind::int8: return kernels::int8_panel_bytes(k_);
        default: return kernels::int4_panel_bytes(k_);
    }
}

std::size_t Linear::bytes() const {
    return num_panel_bytes_ + (row_scales_.size() + bias_.size()) * sizeof(float);
}

void Linear::apply(const Activations& x, std::size_t m, bool add, float* out, std::size_t ldo, ThreadPool& pool) const {
    pool.share(num_units(), step(), [&](std::size_t first, std::size_t end) { apply_units(x, m, first, end, add, out, ldo); });
}

void Linear::apply_units(const Activations& x, std::size_t m, std::size_t first, std::size_t end, bool add, float* out,
                         std::size_t ldo) const {
    const std::size_t row = first * unit(), rows = std::min(end * unit(), num_rows_) - row;
    const std::uint8_t* panels = panels_ + first * panel_bytes();
    const float* bias = has_bias_ ? bias_.data() + row : nullptr;
    out += row;
    if (kind_ == Kind::int8) {
        kernels::matmul_int8(x.quantized(), m, panels, row_scales_.data() + row, bias, rows, add, out, ldo);
        return;
    }
    if (kind_ == Kind::int4) {
        kernels::matmul_int4(x.quantized(), m, panels, bias, rows, add, out, ldo);
        return;
    }
    kernels::matmul_packed(x.row(0), x.size(), reinterpret_cast<const float*>(panels), m, rows, k_, add, out, ldo);
    for (std::size_t i = 0; bias != nullptr && i < m; ++i) {
        for (std::size_t j = 0; j < rows; ++j) out[i * ldo + j] += bias[j];
    }
}

void Linear::read_row(std::size_t i, float* out) const {
    const std::size_t lane = i % unit();
    const std::uint8_t* panel = panels_ + i / unit() * panel_bytes();
    if (kind_ == Kind::float32) {
        const auto* values = reinterpret_cast<const float*>(panel) + lane;
        for (std::size_t j = 0; j < num_columns_; ++j) out[j] = values[j * kPanelColumns];
        return;
    }
    if (kind_ == Kind::int8) {
        const float scale = row_scales_.data()[i];
        for (std::size_t j = 0; j < num_columns_; ++j) {
            out[j] = static_cast<float>(panel[j / 4 * (4 * kPanel) + 4 * lane + j % 4] - 128) * scale;
        }
        return;
    }
    for (std::size_t j = 0; j < num_columns_; ++j) {
        const std::uint8_t* group = panel + j / kInt4Group * kernels::int4_panel_bytes(kInt4Group);
        const std::size_t at = j % kInt4Group, byte = at % 16;
        const int both = group[(byte / 4 * kPanel + lane) * 4 + byte % 4];
        std::uint16_t half;
        std::memcpy(&half, group + kPanel * kInt4Group / 2 + 2 * lane, 2);
        float scale;
        kernels::widen_rows(&half, nullptr, 1, 1, &scale);
        out[j] = static_cast<float>((at < 16 ? both & 15 : both >> 4) - 8) * scale;
    }
}

Table::Table(ModelFile& file, const std::string& name, std::size_t rows, std::size_t columns) : columns_(columns) {
    const Variable& weight = file.get(name);
    require_shape(name, weight, {rows, columns});
    if (weight.type != DataType::int8) {
        floats_ = file.floats(name, {rows, columns});
        return;
    }
    const auto* values = reinterpret_cast<const std::int8_t*>(weight.data);
    values_.assign(values, values + weight.bytes);
    for (const float scale : file.floats(name + "_scale", {rows})) scales_.push_back(row_scale_of(name + "_scale", scale));
}

void Table::read_row(std::size_t i, float* out) const {
    if (!floats_.empty()) {
        std::copy_n(floats_.data() + i * columns_, columns_, out);
        return;
    }
    for (std::size_t j = 0; j < columns_; ++j) out[j] = static_cast<float>(values_[i * columns_ + j]) * scales_[i];
}

}  // namespace ruvllm::runtime
