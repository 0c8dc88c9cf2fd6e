#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "bindings/checks.hpp"
#include "engines/fastgrnn.hpp"
#include "engines/fastgrnn_int8.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

constexpr py::ssize_t kMaxSize = 1 << 14;
constexpr py::ssize_t kMaxParameters = 1 << 27;  // 512 MiB

std::size_t size_in(py::ssize_t value, py::ssize_t low, py::ssize_t high, const char* name) {
    if (value < low || value > high) {
        throw bad_value(name, "be in [" + std::to_string(low) + ", " + std::to_string(high) + "]", value);
    }
    return static_cast<std::size_t>(value);
}

py::ssize_t length(std::size_t size) { return static_cast<py::ssize_t>(size); }

kernels::HeadActivation activation_called(const std::string& name) {
    if (name == "linear") return kernels::HeadActivation::linear;
    if (name == "sigmoid") return kernels::HeadActivation::sigmoid;
    if (name == "softmax") return kernels::HeadActivation::softmax;
    throw bad_value("activation", "be softmax, sigmoid or linear", name);
}

engines::FastGrnnConfig config_of(py::ssize_t input_size, py::ssize_t hidden_size, py::ssize_t w_rank,
                                  py::ssize_t u_rank, const py::object& w_support,
                                  const std::vector<std::pair<py::ssize_t, std::string>>& heads) {
    engines::FastGrnnConfig config{};
    config.input_size = size_in(input_size, 1, kMaxSize, "input_size");
    config.hidden_size = size_in(hidden_size, 1, kMaxSize, "hidden_size");
    config.w_rank = size_in(w_rank, 0, std::min(input_size, hidden_size), "w_rank");
    config.u_rank = size_in(u_rank, 0, hidden_size, "u_rank");
    for (const auto& [size, activation] : heads) {
        config.heads.push_back({size_in(size, 1, kMaxSize, "size of a head"), activation_called(activation)});
    }
    size_in(length(config.output_size()), 0, kMaxSize, "outputs of all heads");
    if (w_support.is_none()) return config;
    if (w_rank != 0) throw py::value_error("w_support must be None when w_rank is given: W is sparse or of low rank");
    const auto support = require<const bool>(w_support, "w_support", {hidden_size, input_size});
    config.indptr.push_back(0);
    for (std::size_t i = 0; i < config.hidden_size; ++i) {
        for (std::size_t j = 0; j < config.input_size; ++j) {
            if (support[i * config.input_size + j]) config.indices.push_back(static_cast<std::int32_t>(j));
        }
        config.indptr.push_back(static_cast<std::int32_t>(config.indices.size()));
    }
    return config;
}

// What forward hands to backward; the arrays are kept alive, not copied. No other binding has a type of this name: by
// clang, pybind11 takes types that are called the same in the unnamed namespaces of two files for one.
template <typename Real>
struct PyFastGrnnTape {
    Array<const Real> x, h_0, hidden;
    engines::FastGrnnTape<Real> tape;

    engines::Sequences<Real> sequences() const { return {x.data(), h_0.data(), x.shape(0), x.shape(1)}; }
};

// One step holds the interpreter lock: letting go of it and taking it again costs as much as the step itself.
template <typename Real, typename Model>
py::tuple step(const Model& model, std::size_t input_size, std::size_t hidden_size, std::size_t output_size,
               const py::object& x_object, const py::object& h_object) {
    const auto x = require_finite_array<Real>(x_object, "x", {length(input_size)});
    const auto h = require_finite_array<Real>(h_object, "h", {length(hidden_size)});
    py::array_t<Real> new_h(length(hidden_size)), outputs(length(output_size));
    model.step(x.data(), h.data(), new_h.mutable_data(), outputs.mutable_data());
    return py::make_tuple(std::move(new_h), std::move(outputs));
}

template <typename Real>
py::tuple forward(const engines::FastGrnn<Real>& model, const py::object& x_object, const py::object& h_0_object,
                  bool with_tape) {
    const engines::FastGrnnConfig& config = model.config();
    const py::ssize_t hidden_size = length(config.hidden_size);
    auto x = require_finite_array<Real>(x_object, "x", {kAny, kAny, length(config.input_size)});
    if (x.shape(0) == 0 || x.shape(1) == 0) throw py::value_error("x must hold a sequence of at least one step");
    auto h_0 = require_finite_array<Real>(h_0_object, "h_0", {length(x.shape(0)), hidden_size});
    const py::ssize_t num_sequences = length(x.shape(0)), num_steps = length(x.shape(1));
    py::array_t<Real> hidden({num_sequences, num_steps, hidden_size});
    py::array_t<Real> outputs({num_sequences, num_steps, length(config.output_size())});
    const engines::Sequences<Real> sequences{x.data(), h_0.data(), x.shape(0), x.shape(1)};
    auto tape = with_tape ? std::make_unique<PyFastGrnnTape<Real>>() : nullptr;
    Real *hidden_out = hidden.mutable_data(), *outputs_out = outputs.mutable_data();
    {
        const py::gil_scoped_release nogil;
        model.forward(sequences, tape ? &tape->tape : nullptr, hidden_out, outputs_out);
    }
    if (!tape) return py::make_tuple(hidden, outputs);
    tape->x = std::move(x);
    tape->h_0 = std::move(h_0);
    tape->hidden = Array<const Real>(hidden);
    return py::make_tuple(hidden, outputs, std::move(tape));
}

template <typename Real>
py::tuple backward(const PyFastGrnnTape<Real>& tape, const py::object& d_logits_object,
                   const py::object& d_hidden_object, bool want_d_x) {
    const engines::FastGrnnParams<Real>& params = *tape.tape.params;
    const engines::FastGrnnConfig& config = params.config();
    const py::ssize_t num_sequences = length(tape.x.shape(0)), num_steps = length(tape.x.shape(1));
    const py::ssize_t hidden_size = length(config.hidden_size);
    engines::FastGrnnGradients<Real> gradients{};
    Array<const Real> d_logits, d_hidden;
    if (!d_logits_object.is_none()) {
        d_logits = require_finite_array<Real>(d_logits_object, "d_logits",
                                              {num_sequences, num_steps, length(config.output_size())});
        if (d_logits.size() > 0) gradients.d_logits = d_logits.data();
    }
    if (!d_hidden_object.is_none()) {
        d_hidden = require_finite_array<Real>(d_hidden_object, "d_hidden", {num_sequences, num_steps, hidden_size});
        gradients.d_hidden = d_hidden.data();
    }
    py::array_t<Real> d_params(length(params.flat().size()));
    py::array_t<Real> d_h_0({num_sequences, hidden_size});
    py::object d_x_object = py::none();
    if (want_d_x) {
        py::array_t<Real> d_x({num_sequences, num_steps, length(config.input_size)});
        gradients.d_x = d_x.mutable_data();
        d_x_object = std::move(d_x);
    }
    gradients.d_params = d_params.mutable_data();
    gradients.d_h_0 = d_h_0.mutable_data();
    {
        const py::gil_scoped_release nogil;
        engines::fastgrnn_backward(tape.tape, tape.sequences(), tape.hidden.data(), gradients);
    }
    return py::make_tuple(d_params, d_h_0, d_x_object);
}

template <typename Real>
py::class_<engines::FastGrnn<Real>> register_model(py::module_& m, const char* name, const char* tape_name) {
    using Model = engines::FastGrnn<Real>;
    py::class_<PyFastGrnnTape<Real>>(m, tape_name)
        .def("backward", backward<Real>, "d_logits"_a, "d_hidden"_a, "want_d_x"_a);
    py::class_<Model> model(m, name);
    model
        .def(py::init([](py::ssize_t input_size, py::ssize_t hidden_size, py::ssize_t w_rank, py::ssize_t u_rank,
                         const py::object& w_support, const std::vector<std::pair<py::ssize_t, std::string>>& heads) {
                 const engines::FastGrnnConfig config =
                     config_of(input_size, hidden_size, w_rank, u_rank, w_support, heads);
                 const engines::FastGrnnField last = engines::fastgrnn_layout(config).back();
                 size_in(length(last.offset + last.size()), 1, kMaxParameters, "parameters of input_size, hidden_size");
                 return std::make_unique<Model>(config);
             }),
             "input_size"_a, "hidden_size"_a, "w_rank"_a, "u_rank"_a, "w_support"_a, "heads"_a)
        .def("layout",
             [](const Model& self) {
                 py::list fields;
                 for (const engines::FastGrnnField& field : engines::fastgrnn_layout(self.config())) {
                     fields.append(py::make_tuple(field.name, field.offset, field.rows, field.columns));
                 }
                 return fields;
             })
        .def("params",
             [](const Model& self) {
                 const auto params = self.params();
                 return py::array_t<Real>(length(params->flat().size()), params->flat().data());
             })
        .def(
            "set_params",
            [](Model& self, const py::object& object) {
                const auto params = require_finite_array<Real>(object, "params", {length(self.num_params())});
                const py::gil_scoped_release nogil;
                self.set_params(params.data());
            },
            "params"_a)
        .def(
            "step",
            [](const Model& self, const py::object& x, const py::object& h) {
                return step<Real>(self, self.config().input_size, self.config().hidden_size,
                                  self.config().output_size(), x, h);
            },
            "x"_a, "h"_a)
        .def("forward", forward<Real>, "x"_a, "h_0"_a, "with_tape"_a);
    return model;
}

std::unique_ptr<engines::FastGrnnInt8> quantize(const engines::FastGrnn<float>& model) {
    const py::ssize_t nnz = length(model.config().indices.size());
    if (nnz >= 1 << 16) throw bad_value("w_support", "have fewer than 65536 entries for quantize", nnz);
    return std::make_unique<engines::FastGrnnInt8>(*model.params());
}

}  // namespace

void register_fastgrnn(py::module_& m) {
    using Int8 = engines::FastGrnnInt8;
    py::class_<Int8>(m, "FastGrnnInt8")
        .def("weight_bytes", &Int8::weight_bytes)
        .def(
            "step",
            [](const Int8& self, const py::object& x, const py::object& h) {
                return step<float>(self, self.input_size(), self.hidden_size(), self.output_size(), x, h);
            },
            "x"_a, "h"_a);
    register_model<double>(m, "FastGrnnInDouble", "FastGrnnTapeInDouble");
    register_model<float>(m, "FastGrnn", "FastGrnnTape").def("quantize", quantize);
}

}  // namespace ruvllm::bindings
