#include <pybind11/stl.h>

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/checks.hpp"
#include "bindings/graph_checks.hpp"
#include "engines/graph.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;
using engines::Direction;
using engines::EdgeBatch;
using engines::Graph;

template <typename T>
py::array_t<T> to_array(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

double checked_time(double unix_s, double epoch, const char* name) {
    if (!(std::fabs(unix_s - epoch) <= engines::kMaxSeconds)) {
        throw bad_value(name, "be finite, in unix seconds", std::to_string(unix_s));
    }
    return unix_s;
}

void require_now(std::optional<double> now, const Graph& graph) {
    if (now.has_value()) checked_time(*now, graph.epoch(), "now");
}

Direction direction_named(const std::string& name) {
    if (name == "both") return Direction::both;
    if (name == "out") return Direction::out;
    if (name == "in") return Direction::in;
    throw bad_value("direction", "be both, out or in", name);
}

engines::EdgeTypes types_in(const std::optional<std::vector<py::ssize_t>>& types, std::size_t num_types) {
    engines::EdgeTypes all;
    if (!types.has_value()) return all.set();
    for (const py::ssize_t type : *types) {
        if (type < 0 || static_cast<std::size_t>(type) >= num_types) {
            throw bad_value("types", "be in [0, " + std::to_string(num_types) + ")", type);
        }
        all.set(static_cast<std::size_t>(type));
    }
    return all;
}

// The arrays of a batch of edges, which they keep alive.
struct Edges {
    Array<const std::int64_t> src, dst;
    Array<const std::uint8_t> types;
    Array<const float> weights, last_used;
    Array<const std::uint16_t> successes, failures;

    Edges(const py::object& src_object, const py::object& dst_object, const py::object& types_object,
          std::size_t num_types) {
        src = require<const std::int64_t>(src_object, "src", {kAny});
        if (src.size() > std::numeric_limits<std::uint32_t>::max()) {
            throw bad_value("src", "have fewer than 2**32 entries", static_cast<py::ssize_t>(src.size()));
        }
        const auto n = static_cast<py::ssize_t>(src.size());
        dst = require<const std::int64_t>(dst_object, "dst", {n});
        types = require<const std::uint8_t>(types_object, "types", {n});
        require_types(types, "types", num_types);
        batch.src = src.data();
        batch.dst = dst.data();
        batch.type = types.data();
        batch.n = src.size();
    }

    void set_columns(const py::object& weights_object, const py::object& last_used_object,
                     const py::object& successes_object, const py::object& failures_object) {
        const auto n = static_cast<py::ssize_t>(src.size());
        if (!weights_object.is_none()) {
            weights = require<const float>(weights_object, "weights", {n});
            require_between(weights, "weights", 0.0, 1.0);
            batch.weight = weights.data();
        }
        if (!last_used_object.is_none()) {
            last_used = require<const float>(last_used_object, "last_used", {n});
            require_between(last_used, "last_used", -engines::kMaxSeconds, engines::kMaxSeconds);
            batch.last_used = last_used.data();
        }
        if (!successes_object.is_none()) {
            successes = require<const std::uint16_t>(successes_object, "successes", {n});
            batch.successes = successes.data();
        }
        if (!failures_object.is_none()) {
            failures = require<const std::uint16_t>(failures_object, "failures", {n});
            batch.failures = failures.data();
        }
    }

    EdgeBatch batch;
};

std::unique_ptr<Graph> make_graph(double epoch, py::ssize_t num_types, std::optional<double> decayed_at) {
    if (num_types < 1 || num_types > 256) throw bad_value("num_types", "be in [1, 256]", num_types);
    checked_time(epoch, 0.0, "epoch");
    if (decayed_at.has_value()) checked_time(*decayed_at, epoch, "decayed_at");
    return std::make_unique<Graph>(epoch, static_cast<std::size_t>(num_types),
                                   decayed_at.value_or(-std::numeric_limits<double>::infinity()));
}

std::size_t add_edges(Graph& graph, const py::object& src, const py::object& dst, const py::object& types,
                      const py::object& weights, const py::object& last_used, const py::object& successes,
                      const py::object& failures) {
    Edges edges(src, dst, types, graph.num_types());
    if (weights.is_none()) throw py::type_error("weights must be a numpy array (NoneType)");
    if (last_used.is_none()) throw py::type_error("last_used must be a numpy array (NoneType)");
    edges.set_columns(weights, last_used, successes, failures);
    for (std::size_t i = 0; i < edges.src.size(); ++i) {
        if (edges.src[i] == edges.dst[i]) {
            throw bad_value("dst[" + std::to_string(i) + "]", "differ from src", py::ssize_t{edges.dst[i]});
        }
    }
    const py::gil_scoped_release nogil;
    return graph.add_edges(edges.batch);
}

void update_edges(Graph& graph, const py::object& src, const py::object& dst, const py::object& types,
                  const py::object& weights, const py::object& last_used, const py::object& successes,
                  const py::object& failures) {
    Edges edges(src, dst, types, graph.num_types());
    edges.set_columns(weights, last_used, successes, failures);
    const py::gil_scoped_release nogil;
    graph.update_edges(edges.batch);
}

void remove_edges(Graph& graph, const py::object& src, const py::object& dst, const py::object& types) {
    const Edges edges(src, dst, types, graph.num_types());
    const py::gil_scoped_release nogil;
    graph.remove_edges(edges.batch);
}

py::object edge(const Graph& graph, std::int64_t src, std::int64_t dst, py::ssize_t type, std::optional<double> now) {
    if (type < 0 || static_cast<std::size_t>(type) >= graph.num_types()) {
        throw bad_value("type", "be in [0, " + std::to_string(graph.num_types()) + ")", type);
    }
    require_now(now, graph);
    std::optional<engines::EdgeValues> found;
    {
        const py::gil_scoped_release nogil;
        found = graph.edge(src, dst, static_cast<std::uint8_t>(type), now);
    }
    if (!found.has_value()) return py::none();
    return py::make_tuple(found->weight, found->last_used, found->successes, found->failures);
}

py::tuple neighbours(const Graph& graph, std::int64_t id, const std::optional<std::vector<py::ssize_t>>& types,
                     const std::string& direction, std::optional<double> now) {
    const engines::EdgeTypes wanted = types_in(types, graph.num_types());
    const Direction followed = direction_named(direction);
    require_now(now, graph);
    engines::Neighbours found;
    {
        const py::gil_scoped_release nogil;
        found = graph.neighbours(id, wanted, followed, now);
    }
    return py::make_tuple(to_array(found.ids), to_array(found.types), to_array(found.weights),
                          to_array(found.last_used), to_array(found.successes), to_array(found.failures),
                          to_array(found.directions));
}

engines::ExpansionLimits limits_of(const Graph& graph, py::ssize_t hops, py::ssize_t max_nodes, py::ssize_t fan_out,
                                   const std::optional<std::vector<py::ssize_t>>& types, double min_weight,
                                   const std::string& direction) {
    if (hops < 0) throw bad_value("hops", "be >= 0", hops);
    if (max_nodes < 1) throw bad_value("max_nodes", "be >= 1", max_nodes);
    if (fan_out < 1) throw bad_value("fan_out", "be >= 1", fan_out);
    require_between(min_weight, "min_weight", 0.0, 1.0);
    constexpr py::ssize_t kMost = std::numeric_limits<std::int32_t>::max();
    return {static_cast<std::size_t>(std::min(hops, kMost)),
            static_cast<std::size_t>(std::min(max_nodes, kMost)),
            static_cast<std::size_t>(fan_out),
            types_in(types, graph.num_types()),
            static_cast<float>(min_weight),
            direction_named(direction)};
}

py::tuple to_tuple(const engines::Subgraph& found) {
    return py::make_tuple(to_array(found.ids), to_array(found.hops), to_array(found.indptr), to_array(found.indices),
                          to_array(found.types), to_array(found.weights), to_array(found.last_used),
                          to_array(found.successes), to_array(found.failures), to_array(found.directions));
}

py::tuple expand(const Graph& graph, const py::object& seeds_object, py::ssize_t hops, py::ssize_t max_nodes,
                 py::ssize_t fan_out, const std::optional<std::vector<py::ssize_t>>& types, double min_weight,
                 const std::string& direction, std::optional<double> now) {
    const auto seeds = require<const std::int64_t>(seeds_object, "seeds", {kAny});
    const auto limits = limits_of(graph, hops, max_nodes, fan_out, types, min_weight, direction);
    require_now(now, graph);
    engines::Subgraph found;
    {
        const py::gil_scoped_release nogil;
        found = graph.expand(seeds.data(), seeds.size(), limits, now);
    }
    return to_tuple(found);
}

py::tuple reach(const Graph& graph, const py::object& seeds_object, py::ssize_t hops, py::ssize_t max_nodes,
                py::ssize_t fan_out) {
    const auto seeds = require<const std::int64_t>(seeds_object, "seeds", {kAny});
    const auto limits = limits_of(graph, hops, max_nodes, fan_out, std::nullopt, 0.0, "both");
    engines::Reached found;
    {
        const py::gil_scoped_release nogil;
        found = graph.reach(seeds.data(), seeds.size(), limits);
    }
    return py::make_tuple(to_array(found.ids), to_array(found.hops));
}

py::tuple among(const Graph& graph, const py::object& ids_object, std::optional<double> now) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    require_now(now, graph);
    engines::Subgraph found;
    {
        const py::gil_scoped_release nogil;
        found = graph.among(ids.data(), ids.size(), now);
    }
    return to_tuple(found);
}

std::size_t reinforce(Graph& graph, const py::object& nodes_object, double quality, std::optional<bool> success,
                      double credit, double eta, double now) {
    const auto nodes = require<const std::int64_t>(nodes_object, "nodes", {kAny});
    require_between(quality, "quality", 0.0, 1.0);
    require_between(credit, "credit", 0.0, 1.0);
    require_between(eta, "eta", 0.0, 1.0);
    checked_time(now, graph.epoch(), "now");
    const py::gil_scoped_release nogil;
    return graph.reinforce(nodes.data(), nodes.size(), {quality, success, credit, eta, now});
}

void set_half_lives(Graph& graph, const py::object& half_life_object) {
    const auto half_life_s = require_half_lives(half_life_object, graph.num_types());
    const py::gil_scoped_release nogil;
    graph.set_half_lives(half_life_s.data());
}

py::array_t<float> half_lives(const Graph& graph) {
    std::vector<float> half_life_s;
    {
        const py::gil_scoped_release nogil;
        half_life_s = graph.half_lives();
    }
    return to_array(half_life_s);
}

std::size_t decay(Graph& graph, double now, double floor, py::ssize_t min_interactions) {
    checked_time(now, graph.epoch(), "now");
    require_between(floor, "floor", 0.0, 1.0);
    const std::uint32_t least = checked_interactions(min_interactions);
    const py::gil_scoped_release nogil;
    return graph.decay(now, static_cast<float>(floor), least);
}

py::bytes snapshot(const Graph& graph) {
    std::string bytes;
    {
        const py::gil_scoped_release nogil;
        bytes = graph.snapshot();
    }
    return py::bytes(bytes);
}

std::unique_ptr<Graph> restore(const py::bytes& snapshot) {
    const auto bytes = static_cast<std::string_view>(snapshot);
    const py::gil_scoped_release nogil;
    return Graph::restore(bytes);
}

std::size_t add_nodes(Graph& graph, const py::object& ids_object) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    const py::gil_scoped_release nogil;
    return graph.add_nodes(ids.data(), ids.size());
}

void remove_nodes(Graph& graph, const py::object& ids_object) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    const py::gil_scoped_release nogil;
    graph.remove_nodes(ids.data(), ids.size());
}

py::array_t<bool> has_nodes(const Graph& graph, const py::object& ids_object) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    py::array_t<bool> known(static_cast<py::ssize_t>(ids.size()));
    bool* out = known.mutable_data();
    const py::gil_scoped_release nogil;
    graph.has_nodes(ids.data(), ids.size(), out);
    return known;
}

py::array_t<std::int64_t> degrees(const Graph& graph, const py::object& ids_object) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    py::array_t<std::int64_t> found({static_cast<py::ssize_t>(ids.size()), py::ssize_t{2}});
    std::int64_t* out = found.mutable_data();
    const py::gil_scoped_release nogil;
    graph.degrees(ids.data(), ids.size(), out);
    return found;
}

py::array_t<std::int64_t> node_ids(const Graph& graph) {
    std::vector<std::int64_t> ids;
    {
        const py::gil_scoped_release nogil;
        ids = graph.node_ids();
    }
    return to_array(ids);
}

}  // namespace

void register_graph(py::module_& m) {
    const py::call_guard<py::gil_scoped_release> nogil;
    py::class_<Graph>(m, "Graph")
        .def(py::init(&make_graph), "epoch"_a, "num_types"_a, "decayed_at"_a)
        .def_property_readonly("epoch", &Graph::epoch)
        .def_property_readonly("num_types", &Graph::num_types)
        .def_property_readonly("decayed_at", py::cpp_function(&Graph::decayed_at, nogil))
        .def("half_lives", &half_lives)
        .def("set_half_lives", &set_half_lives, "half_life_s"_a)
        .def("num_nodes", &Graph::num_nodes, nogil)
        .def("num_edges", &Graph::num_edges, nogil)
        .def("nbytes", &Graph::bytes, nogil)
        .def("add_nodes", &add_nodes, "ids"_a)
        .def("remove_nodes", &remove_nodes, "ids"_a)
        .def("has_nodes", &has_nodes, "ids"_a)
        .def("degrees", &degrees, "ids"_a)
        .def("node_ids", &node_ids)
        .def("add_edges", &add_edges, "src"_a, "dst"_a, "types"_a, "weights"_a, "last_used"_a, "successes"_a,
             "failures"_a)
        .def("update_edges", &update_edges, "src"_a, "dst"_a, "types"_a, "weights"_a, "last_used"_a, "successes"_a,
             "failures"_a)
        .def("remove_edges", &remove_edges, "src"_a, "dst"_a, "types"_a)
        .def("edge", &edge, "src"_a, "dst"_a, "type"_a, "now"_a)
        .def("neighbours", &neighbours, "id"_a, "types"_a, "direction"_a, "now"_a)
        .def("expand", &expand, "seeds"_a, "hops"_a, "max_nodes"_a, "fan_out"_a, "types"_a, "min_weight"_a,
             "direction"_a, "now"_a)
        .def("reach", &reach, "seeds"_a, "hops"_a, "max_nodes"_a, "fan_out"_a)
        .def("among", &among, "ids"_a, "now"_a)
        .def("reinforce", &reinforce, "nodes"_a, "quality"_a, "success"_a, "credit"_a, "eta"_a, "now"_a)
        .def("decay", &decay, "now"_a, "floor"_a, "min_interactions"_a)
        .def("snapshot", &snapshot)
        .def_static("restore", &restore, "snapshot"_a);
}

}  // namespace ruvllm::bindings
