#include "kernels/pagerank.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "bindings/checks.hpp"
#include "bindings/graph_checks.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

constexpr py::ssize_t kMaxIterations = 1'000'000;  // nothing can interrupt them

void require_not_negative(const Array<const float>& values, const char* name) {
    const float* all = values.data();
    int is_good = 1;
    for (std::size_t i = 0, n = values.size(); i < n; ++i) {
        is_good &= (all[i] >= 0.0f) & (all[i] <= std::numeric_limits<float>::max());
    }
    if (is_good == 1) return;
    require_finite(values, name);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] < 0.0f) {
            throw bad_value(std::string(name) + "[" + std::to_string(i) + "]", "be >= 0", std::to_string(values[i]));
        }
    }
}

py::tuple pagerank(const py::object& indptr_object, const py::object& indices_object, const py::object& weights_object,
                   const py::object& restart_object, double damping, double tolerance, py::ssize_t max_iterations,
                   double stay, const py::object& types_object, const py::object& type_weights_object) {
    const auto restart = require<const float>(restart_object, "restart", {kAny});
    const std::size_t n = restart.size();
    if (n == 0) throw bad_value("restart", "have at least 1 entry", py::ssize_t{0});
    const auto indptr = require<const std::int64_t>(indptr_object, "indptr", {static_cast<py::ssize_t>(n) + 1});
    const auto indices = require<const std::int32_t>(indices_object, "indices", {kAny});
    const auto nnz = static_cast<py::ssize_t>(indices.size());
    const auto weights = require<const float>(weights_object, "weights", {nnz});
    require_csr(indptr, indices, n);
    require_not_negative(weights, "weights");
    require_not_negative(restart, "restart");
    bool has_restart = false;
    for (std::size_t i = 0; i < n; ++i) has_restart |= restart[i] > 0.0f;
    if (!has_restart) throw py::value_error("restart must have an entry > 0 (all are 0)");
    if (!(damping >= 0.0 && damping < 1.0)) throw bad_value("damping", "be in [0, 1)", std::to_string(damping));
    if (!(tolerance > 0.0)) throw bad_value("tolerance", "be > 0", std::to_string(tolerance));
    if (!(stay >= 0.0 && std::isfinite(stay))) throw bad_value("stay", "be >= 0 and finite", std::to_string(stay));
    if (max_iterations < 1 || max_iterations > kMaxIterations) {
        throw bad_value("max_iterations", "be in [1, " + std::to_string(kMaxIterations) + "]", max_iterations);
    }

    kernels::Links links{indptr.data(), indices.data(), weights.data(), nullptr, nullptr, n};
    Array<const std::uint8_t> types;
    Array<const float> type_weights;
    if (!types_object.is_none() || !type_weights_object.is_none()) {
        types = require<const std::uint8_t>(types_object, "types", {nnz});
        type_weights = require<const float>(type_weights_object, "type_weights", {kAny});
        require_types(types, "types", type_weights.size());
        require_not_negative(type_weights, "type_weights");
        links.types = types.data();
        links.type_weights = type_weights.data();
    }
    py::array_t<float> scores(static_cast<py::ssize_t>(n));
    float* out = scores.mutable_data();
    std::size_t iterations = 0;
    {
        const py::gil_scoped_release nogil;
        std::vector<double> scratch(kernels::pagerank_scratch(n, indices.size()));
        iterations = kernels::pagerank(links, restart.data(),
                                       {damping, tolerance, static_cast<std::size_t>(max_iterations), stay},
                                       scratch.data(), out);
    }
    return py::make_tuple(scores, iterations);
}

}  // namespace

void register_pagerank(py::module_& m) {
    m.def("pagerank", pagerank, "indptr"_a, "indices"_a, "weights"_a, "restart"_a, "damping"_a, "tolerance"_a,
          "max_iterations"_a, "stay"_a, "types"_a, "type_weights"_a);
}

}  // namespace ruvllm::bindings
