// Products with quantized matrices; bound for their tests and benchmarks only.
#include "kernels/quantized_matmul.hpp"

#include "bindings/checks.hpp"
#include "engines/aligned.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;
using kernels::kInt4Group;
using kernels::kPanel;

struct Quantized {
    Quantized(const Array<const float>& x, std::size_t k)
        : values(x.shape(0) * k), scales(x.shape(0) * k / kernels::kGroup), offsets(x.shape(0) * k / kernels::kGroup), sums(x.shape(0) * k / kInt4Group) {
        kernels::quantize_rows(x.data(), x.shape(1), x.shape(0), x.shape(1), values.data(), scales.data(), offsets.data(), sums.data());
    }
    engines::AlignedBuffer<std::int8_t> values;
    engines::AlignedBuffer<float> scales;
    engines::AlignedBuffer<std::int32_t> offsets, sums;
};

}  // namespace

void register_quantized_matmul(py::module_& m) {
    m.def(
        "_quantize_rows",
        [](const py::object& x_object) {
            const auto x = require<const float>(x_object, "x", {kAny, kAny});
            const std::size_t k = kernels::padded_to(x.shape(1), kernels::kGroup);
            const Quantized q(x, k);
            return py::make_tuple(py::array_t<std::int8_t>({x.shape(0), k}, q.values.data()),
                                  py::array_t<float>({x.shape(0), k / kernels::kGroup}, q.scales.data()),
                                  py::array_t<std::int32_t>({x.shape(0), k / kInt4Group}, q.sums.data()));
        },
        "x"_a);
    m.def(
        "_matmul_int8",
        [](const py::object& x_object, const py::object& w_object, const py::object& scales_object,
           const py::object& bias_object, const py::object& out_object, bool add) {
            const auto x = require<const float>(x_object, "x", {kAny, kAny});
            const auto columns = static_cast<py::ssize_t>(x.shape(1));
            const auto w = require<const std::int8_t>(w_object, "w", {kAny, columns});
            const auto padded = static_cast<py::ssize_t>(kernels::padded_to(w.shape(0), kPanel));
            const auto scales = require<const float>(scales_object, "row_scales", {padded});
            const auto bias = require<const float>(bias_object, "bias", {padded});
            const auto out = require<float>(out_object, "out", {static_cast<py::ssize_t>(x.shape(0)), static_cast<py::ssize_t>(w.shape(0))});
            const std::size_t k = kernels::padded_to(x.shape(1), kernels::kGroup), panel_bytes = kernels::int8_panel_bytes(k);
            engines::AlignedBuffer<std::uint8_t> panels(static_cast<std::size_t>(padded) / kPanel * panel_bytes);
            for (std::size_t first = 0; first < w.shape(0); first += kPanel) {
                const std::int8_t* rows[kPanel] = {};
                for (std::size_t j = 0; j < kPanel && first + j < w.shape(0); ++j) rows[j] = w.data() + (first + j) * x.shape(1);
                kernels::pack_int8_panel(rows, x.shape(1), panels.data() + first / kPanel * panel_bytes);
            }
            const Quantized q(x, k);
            kernels::matmul_int8({q.values.data(), q.scales.data(), q.offsets.data(), q.sums.data(), k}, x.shape(0), panels.data(),
                                 scales.data(), bias.data(), w.shape(0), add, out.data(), w.shape(0));
        },
        "x"_a, "w"_a, "row_scales"_a, "bias"_a, "out"_a, "add"_a);
    m.def(
        "_matmul_int4",
        [](const py::object& x_object, const py::object& codes_object, const py::object& scales_object,
           const py::object& out_object, bool add) {
            const auto x = require<const float>(x_object, "x", {kAny, kAny});
            const std::size_t groups = (x.shape(1) + kInt4Group - 1) / kInt4Group, k = kernels::padded_to(x.shape(1), kernels::kGroup);
            const auto codes = require<const std::uint8_t>(codes_object, "codes", {kAny, static_cast<py::ssize_t>(groups * kInt4Group / 2)});
            const auto scales = require<const std::uint16_t>(scales_object, "scales", {static_cast<py::ssize_t>(codes.shape(0)), static_cast<py::ssize_t>(groups)});
            const auto out = require<float>(out_object, "out", {static_cast<py::ssize_t>(x.shape(0)), static_cast<py::ssize_t>(codes.shape(0))});
            const std::size_t n = codes.shape(0), panel_bytes = kernels::int4_panel_bytes(k);
            engines::AlignedBuffer<std::uint8_t> panels(kernels::padded_to(n, kPanel) / kPanel * panel_bytes);
            for (std::size_t first = 0; first < n; first += kPanel) {
                const std::uint8_t *rows[kPanel] = {}, *row_scales[kPanel] = {};
                for (std::size_t j = 0; j < kPanel && first + j < n; ++j) {
                    rows[j] = codes.data() + (first + j) * groups * kInt4Group / 2;
                    row_scales[j] = reinterpret_cast<const std::uint8_t*>(scales.data() + (first + j) * groups);
                }
                kernels::pack_int4_panel(rows, row_scales, x.shape(1), panels.data() + first / kPanel * panel_bytes);
            }
            const Quantized q(x, k);
            kernels::matmul_int4({q.values.data(), q.scales.data(), q.offsets.data(), q.sums.data(), k}, x.shape(0), panels.data(), nullptr, n,
                                 add, out.data(), n);
        },
        "x"_a, "codes"_a, "scales"_a, "out"_a, "add"_a);
}

}  // namespace ruvllm::bindings
