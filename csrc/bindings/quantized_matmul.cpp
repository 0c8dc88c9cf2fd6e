// Products with quantized matrices; bound for their tests and benchmarks only.
#include "kernels/quantized_matmul.hpp"

#include <vector>

#include "bindings/checks.hpp"
#include "engines/aligned.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;
using kernels::kGroup;
using kernels::kInt4Group;
using kernels::kPanel;

py::ssize_t length(std::size_t n) { return static_cast<py::ssize_t>(n); }

struct Quantized {
    explicit Quantized(const Array<const float>& x)
        : m(x.shape(0)),
          k(kernels::padded_to(x.shape(1), kGroup)),
          values(m * k),
          scales(m * k / kGroup),
          offsets(m * k / kGroup),
          sums(m * k / kInt4Group) {
        kernels::quantize_rows(x.data(), x.shape(1), m, x.shape(1), values.data(), scales.data(), offsets.data(),
                               sums.data());
    }
    kernels::QuantizedRows rows() const { return {values.data(), scales.data(), offsets.data(), sums.data(), k}; }

    std::size_t m, k;
    engines::AlignedBuffer<std::int8_t> values;
    engines::AlignedBuffer<float> scales;
    engines::AlignedBuffer<std::int32_t> offsets, sums;
};

// A W of n rows, packed once.
class Int8Weights {
  public:
    Int8Weights(const py::object& w_object, const py::object& row_scales_object, const py::object& bias_object) {
        const auto w = require<const std::int8_t>(w_object, "w", {kAny, kAny});
        n_ = w.shape(0);
        columns_ = w.shape(1);
        row_scales_ = padded(require<const float>(row_scales_object, "row_scales", {length(n_)}));
        bias_ = padded(require<const float>(bias_object, "bias", {length(n_)}));
        const std::size_t panel_bytes = kernels::int8_panel_bytes(kernels::padded_to(columns_, kGroup));
        panels_.reserve(row_scales_.size() / kPanel * panel_bytes);
        for (std::size_t first = 0; first < n_; first += kPanel) {
            const std::int8_t* rows[kPanel] = {};
            for (std::size_t j = 0; j < kPanel && first + j < n_; ++j) rows[j] = w.data() + (first + j) * columns_;
            kernels::pack_int8_panel(rows, columns_, panels_.data() + first / kPanel * panel_bytes);
        }
    }

    void multiply(const py::object& x_object, const py::object& out_object, bool add) const {
        const auto x = require<const float>(x_object, "x", {kAny, length(columns_)});
        const auto out = require<float>(out_object, "out", {length(x.shape(0)), length(n_)});
        const Quantized q(x);
        kernels::matmul_int8(q.rows(), q.m, panels_.data(), row_scales_.data(), bias_.data(), n_, add, out.data(), n_);
    }

  private:
    static std::vector<float> padded(const Array<const float>& values) {
        std::vector<float> all(values.data(), values.data() + values.size());
        all.resize(kernels::padded_to(values.size(), kPanel));
        return all;
    }

    std::size_t n_ = 0, columns_ = 0;
    std::vector<float> row_scales_, bias_;
    engines::AlignedBuffer<std::uint8_t> panels_;
};

class Int4Weights {
  public:
    Int4Weights(const py::object& codes_object, const py::object& scales_object) {
        const auto scales = require<const std::uint16_t>(scales_object, "scales", {kAny, kAny});
        n_ = scales.shape(0);
        groups_ = scales.shape(1);
        constexpr std::size_t kBytes = kInt4Group / 2;  // of a row's group
        const auto codes = require<const std::uint8_t>(codes_object, "codes", {length(n_), length(groups_ * kBytes)});
        const std::size_t columns = groups_ * kInt4Group;
        const std::size_t panel_bytes = kernels::int4_panel_bytes(kernels::padded_to(columns, kGroup));
        panels_.reserve(kernels::padded_to(n_, kPanel) / kPanel * panel_bytes);
        for (std::size_t first = 0; first < n_; first += kPanel) {
            const std::uint8_t *rows[kPanel] = {}, *row_scales[kPanel] = {};
            for (std::size_t j = 0; j < kPanel && first + j < n_; ++j) {
                rows[j] = codes.data() + (first + j) * groups_ * kBytes;
                row_scales[j] = reinterpret_cast<const std::uint8_t*>(scales.data() + (first + j) * groups_);
            }
            kernels::pack_int4_panel(rows, row_scales, columns, panels_.data() + first / kPanel * panel_bytes);
        }
    }

    void multiply(const py::object& x_object, const py::object& out_object, bool add) const {
        const auto x = require<const float>(x_object, "x", {kAny, kAny});
        if ((x.shape(1) + kInt4Group - 1) / kInt4Group != groups_) {
            throw bad_value("x", "have columns for " + std::to_string(groups_) + " groups of 32", length(x.shape(1)));
        }
        const auto out = require<float>(out_object, "out", {length(x.shape(0)), length(n_)});
        const Quantized q(x);
        kernels::matmul_int4(q.rows(), q.m, panels_.data(), nullptr, n_, add, out.data(), n_);
    }

  private:
    std::size_t n_ = 0, groups_ = 0;
    engines::AlignedBuffer<std::uint8_t> panels_;
};

}  // namespace

void register_quantized_matmul(py::module_& m) {
    m.def(
        "_quantize_rows",
        [](const py::object& x_object) {
            const auto x = require<const float>(x_object, "x", {kAny, kAny});
            const Quantized q(x);
            return py::make_tuple(py::array_t<std::int8_t>({q.m, q.k}, q.values.data()),
                                  py::array_t<float>({q.m, q.k / kGroup}, q.scales.data()),
                                  py::array_t<std::int32_t>({q.m, q.k / kInt4Group}, q.sums.data()));
        },
        "x"_a);
    py::class_<Int8Weights>(m, "_Int8Weights")
        .def(py::init<py::object, py::object, py::object>(), "w"_a, "row_scales"_a, "bias"_a)
        .def("multiply", &Int8Weights::multiply, "x"_a, "out"_a, "add"_a);
    py::class_<Int4Weights>(m, "_Int4Weights")
        .def(py::init<py::object, py::object>(), "codes"_a, "scales"_a)
        .def("multiply", &Int4Weights::multiply, "x"_a, "out"_a, "add"_a);
}

}  // namespace ruvllm::bindings
