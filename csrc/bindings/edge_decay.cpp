#include "kernels/edge_decay.hpp"

#include "bindings/checks.hpp"
#include "bindings/graph_checks.hpp"
#include "kernels/edge_features.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

// The number of types that the half-lives are for.
std::size_t types_of(const py::object& half_life_s) {
    const std::size_t num_types = require<const float>(half_life_s, "half_life_s", {kAny}).size();
    if (num_types < 1 || num_types > 256) {
        throw bad_value("half_life_s", "have 1 to 256 entries", static_cast<py::ssize_t>(num_types));
    }
    return num_types;
}

float checked_seconds(double value, const char* name) {
    constexpr double kMost = 1e30;  // less than half the spacing of the largest floats: no age overflows
    require_between(value, name, -kMost, kMost);
    return static_cast<float>(value);
}

float checked_since(double since) {
    return since == -std::numeric_limits<double>::infinity() ? static_cast<float>(since)
                                                             : checked_seconds(since, "since");
}

void edge_decay(const py::object& weights_object, const py::object& last_used_object, const py::object& types_object,
                double now, double since, const py::object& half_life_object) {
    const std::size_t num_types = types_of(half_life_object);
    const auto half_life_s = require_half_lives(half_life_object, num_types);
    const auto weights = require<float>(weights_object, "weights", {kAny});
    const auto n = static_cast<py::ssize_t>(weights.size());
    const auto last_used = require<const float>(last_used_object, "last_used", {n});
    Array<const std::uint8_t> types;
    if (!types_object.is_none()) {
        types = require<const std::uint8_t>(types_object, "types", {n});
        if (num_types < 256) require_types(types, "types", num_types);
        require_apart(weights, "weights", types, "types");
    } else if (num_types != 1) {
        throw py::value_error("types must be given with several half-lives");
    }
    require_apart(weights, "weights", last_used, "last_used");
    require_apart(weights, "weights", half_life_s, "half_life_s");
    const kernels::EdgeDecay decay{checked_seconds(now, "now"), checked_since(since), half_life_s.data(), num_types};
    const std::uint8_t* types_in = types_object.is_none() ? nullptr : types.data();
    const py::gil_scoped_release nogil;
    kernels::edge_decay(weights.data(), last_used.data(), types_in, weights.size(), decay);
}

std::size_t edge_decay_and_mark(const py::object& weights_object, const py::object& last_used_object,
                                const py::object& types_object, const py::object& counts_object, double now,
                                double since, const py::object& half_life_object, double floor,
                                py::ssize_t min_interactions, const py::object& is_prunable_object) {
    const std::size_t num_types = types_of(half_life_object);
    const auto half_life_s = require_half_lives(half_life_object, num_types);
    const auto weights = require<float>(weights_object, "weights", {kAny});
    const auto n = static_cast<py::ssize_t>(weights.size());
    const auto last_used = require<const float>(last_used_object, "last_used", {n});
    const auto types = require<const std::uint8_t>(types_object, "types", {n});
    if (num_types < 256) require_types(types, "types", num_types);
    const auto counts = require<const std::uint16_t>(counts_object, "counts", {n, 2});
    const auto is_prunable = require<bool>(is_prunable_object, "out", {n});
    require_apart(weights, "weights", last_used, "last_used");
    require_apart(weights, "weights", half_life_s, "half_life_s");
    require_apart(weights, "weights", types, "types");
    require_apart(weights, "weights", counts, "counts");
    require_apart(is_prunable, "out", weights, "weights");
    require_apart(is_prunable, "out", last_used, "last_used");
    require_apart(is_prunable, "out", half_life_s, "half_life_s");
    require_apart(is_prunable, "out", types, "types");
    require_apart(is_prunable, "out", counts, "counts");
    const kernels::EdgeDecay decay{checked_seconds(now, "now"), checked_since(since), half_life_s.data(), num_types};
    const float lowest = checked_seconds(floor, "floor");
    const std::uint32_t least = checked_interactions(min_interactions);
    const py::gil_scoped_release nogil;
    return kernels::edge_decay_and_mark(weights.data(), last_used.data(), types.data(),
                                        reinterpret_cast<const kernels::EdgeCounts*>(counts.data()), weights.size(),
                                        decay, lowest, least, reinterpret_cast<std::uint8_t*>(is_prunable.data()));
}

py::array_t<float> edge_features(const py::object& types_object, const py::object& weights_object,
                                 const py::object& last_used_object, const py::object& successes_object,
                                 const py::object& failures_object, const py::object& directions_object, double now,
                                 const py::object& half_life_object) {
    const std::size_t num_types = types_of(half_life_object);
    const auto half_life_s = require_half_lives(half_life_object, num_types);
    const auto types = require<const std::uint8_t>(types_object, "types", {kAny});
    const auto nnz = static_cast<py::ssize_t>(types.size());
    require_types(types, "types", num_types);
    const auto weights = require<const float>(weights_object, "weights", {nnz});
    const auto last_used = require<const float>(last_used_object, "last_used", {nnz});
    const auto successes = require<const std::uint16_t>(successes_object, "successes", {nnz});
    const auto failures = require<const std::uint16_t>(failures_object, "failures", {nnz});
    const auto directions = require<const std::uint8_t>(directions_object, "directions", {nnz});
    require_finite(weights, "weights");
    require_finite(last_used, "last_used");
    const float seconds = checked_seconds(now, "now");
    py::array_t<float> features({nnz, static_cast<py::ssize_t>(kernels::num_edge_features(num_types))});
    float* out = features.mutable_data();
    const py::gil_scoped_release nogil;
    kernels::edge_features({types.data(), weights.data(), last_used.data(), successes.data(), failures.data(),
                            directions.data(), types.size()},
                           num_types, seconds, half_life_s.data(), out);
    return features;
}

}  // namespace

void register_edge_decay(py::module_& m) {
    m.def("edge_decay", edge_decay, "weights"_a, "last_used"_a, "types"_a, "now"_a, "since"_a, "half_life_s"_a);
    m.def("edge_decay_and_mark", edge_decay_and_mark, "weights"_a, "last_used"_a, "types"_a, "counts"_a, "now"_a,
          "since"_a, "half_life_s"_a, "floor"_a, "min_interactions"_a, "is_prunable"_a);
    m.def("edge_features", edge_features, "types"_a, "weights"_a, "last_used"_a, "successes"_a, "failures"_a,
          "directions"_a, "now"_a, "half_life_s"_a);
}

}  // namespace ruvllm::bindings
