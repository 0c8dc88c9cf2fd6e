#include "kernels/neighbour_maxima.hpp"

#include "bindings/checks.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

py::array_t<float> neighbour_maxima(const py::object& indptr_object, const py::object& indices_object,
                                    const py::object& groups_object, const py::object& values_object,
                                    py::ssize_t num_groups) {
    const auto values = require<const float>(values_object, "values", {kAny, kAny});
    const std::size_t n = values.shape(0), num_values = values.shape(1);
    const auto indptr = require<const std::int64_t>(indptr_object, "indptr", {static_cast<py::ssize_t>(n) + 1});
    const auto indices = require<const std::int32_t>(indices_object, "indices", {kAny});
    const auto groups = require<const std::uint8_t>(groups_object, "groups",
                                                    {static_cast<py::ssize_t>(indices.size())});
    require_csr(indptr, indices, n);
    require_finite(values, "values");
    if (num_groups < 1 || num_groups > 256) throw bad_value("num_groups", "be in [1, 256]", num_groups);
    py::array_t<float> maxima({static_cast<py::ssize_t>(n), num_groups, static_cast<py::ssize_t>(num_values)});
    float* out = maxima.mutable_data();
    const py::gil_scoped_release nogil;
    kernels::neighbour_maxima({indptr.data(), indices.data(), groups.data(), n, static_cast<std::size_t>(num_groups)},
                              values.data(), num_values, out);
    return maxima;
}

}  // namespace

void register_neighbour_maxima(py::module_& m) {
    m.def("neighbour_maxima", neighbour_maxima, "indptr"_a, "indices"_a, "groups"_a, "values"_a, "num_groups"_a);
}

}  // namespace ruvllm::bindings
