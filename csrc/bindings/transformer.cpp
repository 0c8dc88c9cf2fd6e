// The pieces between a transformer's products; bound for their tests only.
#include "kernels/transformer.hpp"

#include <vector>

#include "bindings/checks.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;
using Matrix = Array<float>;

py::ssize_t length(std::size_t n) { return static_cast<py::ssize_t>(n); }

}  // namespace

void register_transformer(py::module_& m) {
    m.def(
        "_rms_norm",
        [](const py::object& x_object, const py::object& gamma_object, float eps) {
            const auto x = require<float>(x_object, "x", {kAny, kAny});
            const auto gamma = require<const float>(gamma_object, "gamma", {length(x.shape(1))});
            kernels::rms_norm(x.data(), x.shape(1), x.shape(0), x.shape(1), gamma.data(), eps, x.data(), x.shape(1));
        },
        "x"_a, "gamma"_a, "eps"_a);
    m.def(
        "_layer_norm",
        [](const py::object& x_object, const py::object& gamma_object, const py::object& beta_object, float eps) {
            const auto x = require<float>(x_object, "x", {kAny, kAny});
            const auto gamma = require<const float>(gamma_object, "gamma", {length(x.shape(1))});
            const auto beta = require<const float>(beta_object, "beta", {length(x.shape(1))});
            kernels::layer_norm(x.data(), x.shape(1), x.shape(0), x.shape(1), gamma.data(), beta.data(), eps, x.data(),
                                x.shape(1));
        },
        "x"_a, "gamma"_a, "beta"_a, "eps"_a);
    m.def(
        "_rotate_halves",
        [](const py::object& x_object, const py::object& cosines_object, const py::object& sines_object) {
            const auto x = require<float>(x_object, "x", {kAny, kAny});
            const py::ssize_t half = length(x.shape(1) / 2);
            const auto cosines = require<const float>(cosines_object, "cosines", {half});
            const auto sines = require<const float>(sines_object, "sines", {half});
            kernels::rotate_halves(x.data(), x.shape(0), x.shape(1), cosines.data(), sines.data());
        },
        "x"_a, "cosines"_a, "sines"_a);
    m.def(
        "_silu_multiply",
        [](const py::object& gate_object, const py::object& up_object) {
            const auto gate = require<float>(gate_object, "gate", {kAny, kAny});
            const auto up = require<const float>(up_object, "up", {length(gate.shape(0)), length(gate.shape(1))});
            kernels::silu_multiply(gate.data(), up.data(), gate.shape(1), gate.shape(0), gate.shape(1));
        },
        "gate"_a, "up"_a);
    m.def(
        "_activate",
        [](const std::string& name, const py::object& x_object) {
            const auto x = require<float>(x_object, "x", {kAny, kAny});
            if (name != "gelu" && name != "gelu_tanh" && name != "relu") throw bad_value("name", "be gelu, gelu_tanh or relu", name);
            const auto f = name == "gelu"        ? kernels::Activation::gelu
                           : name == "gelu_tanh" ? kernels::Activation::gelu_tanh
                                                 : kernels::Activation::relu;
            kernels::activate(f, x.data(), x.shape(1), x.shape(0), x.shape(1));
        },
        "name"_a, "x"_a);
    m.def(
        "_softmax_rows",
        [](const py::object& scores_object, const py::object& counts_object) {
            const auto scores = require<float>(scores_object, "scores", {kAny, kAny});
            const auto counts = require<const std::int64_t>(counts_object, "counts", {length(scores.shape(0))});
            std::vector<std::size_t> checked;
            for (std::size_t i = 0; i < counts.size(); ++i) {
                if (counts[i] < 1 || counts[i] > length(scores.shape(1))) throw bad_value("counts", "be in [1, n]", counts[i]);
                checked.push_back(static_cast<std::size_t>(counts[i]));
            }
            kernels::softmax_rows(scores.data(), scores.shape(1), scores.shape(0), scores.shape(1), checked.data());
        },
        "scores"_a, "counts"_a);
    m.def(
        "_log_sum_exp",
        [](const py::object& x_object) {
            const auto x = require<const float>(x_object, "x", {kAny});
            if (x.size() == 0) throw py::value_error("x must hold an entry");
            return py::make_tuple(kernels::log_sum_exp(x.data(), x.size()), kernels::argmax(x.data(), x.size()));
        },
        "x"_a);
    m.def(
        "_short_conv",
        [](const py::object& projected_object, const py::object& taps_object, const py::object& history_object,
           const py::object& out_object) {
            const auto out = require<float>(out_object, "out", {kAny, kAny});
            const auto projected = require<const float>(projected_object, "projected", {length(out.shape(0)), length(3 * out.shape(1))});
            const auto taps = require<const float>(taps_object, "taps", {kAny, length(out.shape(1))});
            const auto history = require<float>(history_object, "history", {length(taps.shape(0) - 1 + out.shape(0)), length(out.shape(1))});
            kernels::short_conv(projected.data(), projected.shape(1), out.shape(0), out.shape(1), taps.data(), taps.shape(0),
                                nullptr, history.data(), out.data(), out.shape(1));
        },
        "projected"_a, "taps"_a, "history"_a, "out"_a);
}

}  // namespace ruvllm::bindings
