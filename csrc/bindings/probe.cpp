#include "kernels/probe.hpp"

#include "bindings/checks.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

float read_all(const py::object& values_object) {
    const auto values = require<const float>(values_object, "values", {kAny});
    const py::gil_scoped_release nogil;
    return kernels::read_all(values.data(), values.size());
}

void multiply_add(const py::object& values_object, py::ssize_t steps, float a, float b) {
    const auto values = require<float>(values_object, "values", {static_cast<py::ssize_t>(kernels::kProbeChains)});
    if (steps < 0) throw bad_value("steps", "be >= 0", steps);
    const py::gil_scoped_release nogil;
    kernels::multiply_add(values.data(), static_cast<std::size_t>(steps), a, b);
}

}  // namespace

void register_probe(py::module_& m) {
    m.attr("probe_chains") = kernels::kProbeChains;
    m.def("read_all", read_all, "values"_a);
    m.def("multiply_add", multiply_add, "values"_a, "steps"_a, "a"_a, "b"_a);
}

}  // namespace ruvllm::bindings
