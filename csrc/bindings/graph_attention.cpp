#include <pybind11/stl.h>

#include <vector>

#include "bindings/checks.hpp"
#include "engines/graph_attention.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

constexpr py::ssize_t kMaxSize = 1 << 16;  // of every size of an engine
constexpr double kMaxParameters = 1 << 27;  // 512 MiB

std::size_t require_size(py::ssize_t size, const char* name, py::ssize_t least) {
    if (size < least || size > kMaxSize) {
        throw bad_value(name, "be in [" + std::to_string(least) + ", " + std::to_string(kMaxSize) + "]", size);
    }
    return static_cast<std::size_t>(size);
}

// In floating point, since the product of such sizes need not fit 64 bits.
void require_few_parameters(const engines::GraphAttentionSizes& s) {
    const auto d = static_cast<double>(s.dim), p = static_cast<double>(s.width), h = static_cast<double>(s.num_heads);
    const double layer = 4 * p * d + 2 * d + h * static_cast<double>(s.num_edge_features + 1);
    const double all = static_cast<double>(s.num_layers) * layer + 4 * p * d +
                       h * static_cast<double>(s.num_hop_biases + s.num_node_features);
    if (all > kMaxParameters) {
        throw bad_value("dim, width, num_layers", "make at most 134217728 parameters", text_of(py::float_(all)));
    }
}

py::ssize_t length(std::size_t size) { return static_cast<py::ssize_t>(size); }

// The arrays of one call, checked, and the subgraph that points into them.
template <typename Real>
struct Inputs {
    Array<const Real> nodes, edge_features, query, node_features;
    Array<const std::int64_t> indptr;
    Array<const std::int32_t> indices, hops;
    engines::Subgraph<Real> graph{};

    Inputs(const engines::GraphAttentionSizes& sizes, const py::object& nodes_object, const py::object& indptr_object,
           const py::object& indices_object, const py::object& edge_features_object) {
        nodes = require_finite_array<Real>(nodes_object, "nodes", {kAny, length(sizes.dim)});
        if (nodes.shape(0) == 0) throw bad_value("nodes", "have at least 1 row", 0);
        indptr = require<const std::int64_t>(indptr_object, "indptr", {length(nodes.shape(0)) + 1});
        indices = require<const std::int32_t>(indices_object, "indices", {kAny});
        require_csr(indptr, indices, nodes.shape(0));
        edge_features = require_finite_array<Real>(edge_features_object, "edge_features",
                                                   {length(indices.size()), length(sizes.num_edge_features)});
        point();
    }

    void add_readout(const engines::GraphAttentionSizes& sizes, const py::object& query_object,
                     const py::object& hops_object, const py::object& node_features_object) {
        const py::ssize_t n = length(graph.num_nodes);
        query = require_finite_array<Real>(query_object, "query", {length(sizes.dim)});
        hops = require<const std::int32_t>(hops_object, "hops", {n});
        for (std::size_t i = 0; i < hops.size(); ++i) {
            if (hops[i] < 0) throw bad_value("hops[" + std::to_string(i) + "]", "be >= 0", hops[i]);
        }
        node_features = require_finite_array<Real>(node_features_object, "node_features",
                                                   {n, length(sizes.num_node_features)});
        point();
    }

    void copy() {
        nodes = nodes.copy();
        edge_features = edge_features.copy();
        query = query.copy();
        node_features = node_features.copy();
        indptr = indptr.copy();
        indices = indices.copy();
        hops = hops.copy();
        point();
    }

  private:
    void point() {
        graph = {nodes.data(),         nodes.shape(0), indptr.data(), indices.data(),
                 edge_features.data(), query.data(),   hops.data(),   node_features.data()};
    }
};

// A tape with the arrays it points into.
template <typename Real>
struct PyGraphAttentionTape {
    Inputs<Real> inputs;
    engines::GraphAttentionSizes sizes;
    engines::GraphAttentionTape<Real> tape;
};

template <typename Real>
py::array_t<Real> copy_of(const Real* values, std::vector<py::ssize_t> shape) {
    return py::array_t<Real>(std::move(shape), values);
}

// One array a layer.
template <typename Real, typename Field>
py::list layers_of(const PyGraphAttentionTape<Real>& self, std::size_t num_rows, std::size_t num_columns, Field field) {
    py::list all;
    for (const auto& layer : self.tape.layers) {
        all.append(copy_of<Real>(layer.*field, {length(num_rows), length(num_columns)}));
    }
    return all;
}

template <typename Real>
void register_engine(py::module_& m, const char* name, const char* tape_name) {
    using Engine = engines::GraphAttention<Real>;
    using Layer = typename engines::GraphAttentionTape<Real>::Layer;
    using PyTape = PyGraphAttentionTape<Real>;

    py::class_<PyTape>(m, tape_name)
        .def_property_readonly("edge_weights", [](const PyTape& self) {
            return layers_of(self, self.tape.graph.num_edges(), self.sizes.num_heads, &Layer::edge_weights);
        })
        .def_property_readonly("self_weights", [](const PyTape& self) {
            return layers_of(self, self.tape.graph.num_nodes, self.sizes.num_heads, &Layer::self_weights);
        })
        .def_property_readonly("contexts", [](const PyTape& self) {
            return layers_of(self, self.tape.graph.num_nodes, self.sizes.width, &Layer::context);
        })
        .def_property_readonly("states", [](const PyTape& self) {
            return layers_of(self, self.tape.graph.num_nodes, self.sizes.dim, &Layer::states);
        })
        .def_property_readonly("readout_weights", [](const PyTape& self) {
            return copy_of<Real>(self.tape.attention,
                                 {length(self.tape.graph.num_nodes), length(self.sizes.num_heads)});
        });

    py::class_<Engine>(m, name)
        .def(py::init([](py::ssize_t dim, py::ssize_t width, py::ssize_t num_heads, py::ssize_t num_layers,
                         py::ssize_t num_edge_features, py::ssize_t num_node_features, py::ssize_t num_hop_biases) {
                 const engines::GraphAttentionSizes sizes{
                     require_size(dim, "dim", 1),
                     require_size(width, "width", 1),
                     require_size(num_heads, "num_heads", 1),
                     require_size(num_layers, "num_layers", 0),
                     require_size(num_edge_features, "num_edge_features", 0),
                     require_size(num_node_features, "num_node_features", 0),
                     require_size(num_hop_biases, "num_hop_biases", 1)};
                 if (sizes.width % sizes.num_heads != 0) {
                     throw bad_value("width", "be a multiple of num_heads, " + std::to_string(num_heads), width);
                 }
                 require_few_parameters(sizes);
                 return std::make_unique<Engine>(sizes);
             }),
             "dim"_a, "width"_a, "num_heads"_a, "num_layers"_a, "num_edge_features"_a, "num_node_features"_a,
             "num_hop_biases"_a)
        .def("layout", [](const Engine& self) {
            py::list all;
            for (const auto& parameter : self.layout().parameters()) {
                all.append(py::make_tuple(parameter.name, parameter.offset, py::tuple(py::cast(parameter.shape))));
            }
            return all;
        })
        .def("params", [](const Engine& self) {
            py::array_t<Real> flat(length(self.layout().size()));
            self.params(flat.mutable_data());
            return flat;
        })
        .def("set_params", [](Engine& self, const py::object& object) {
            const auto flat = require_finite_array<Real>(object, "params", {length(self.layout().size())});
            const py::gil_scoped_release nogil;
            self.set_params(flat.data());
        }, "params"_a)
        .def("encode", [](const Engine& self, const py::object& nodes, const py::object& indptr,
                          const py::object& indices, const py::object& edge_features) {
            const Inputs<Real> inputs(self.sizes(), nodes, indptr, indices, edge_features);
            py::array_t<Real> out({length(inputs.graph.num_nodes), length(self.sizes().dim)});
            Real* out_data = out.mutable_data();
            {
                const py::gil_scoped_release nogil;
                self.encode(inputs.graph, out_data);
            }
            return out;
        }, "nodes"_a, "indptr"_a, "indices"_a, "edge_features"_a)
        .def("forward", [](const Engine& self, const py::object& nodes, const py::object& indptr,
                           const py::object& indices, const py::object& edge_features, const py::object& query,
                           const py::object& hops, const py::object& node_features, bool keep) {
            Inputs<Real> inputs(self.sizes(), nodes, indptr, indices, edge_features);
            inputs.add_readout(self.sizes(), query, hops, node_features);
            py::array_t<std::int64_t> ranking(length(inputs.graph.num_nodes));
            py::array_t<Real> weights(length(inputs.graph.num_nodes)), attended(length(self.sizes().dim));
            std::int64_t* ranking_data = ranking.mutable_data();
            Real *weights_data = weights.mutable_data(), *attended_data = attended.mutable_data();
            std::unique_ptr<PyTape> tape;
            if (keep) {  // with copies: what changes in the caller's arrays must lead `backward` nowhere
                inputs.copy();
                tape.reset(new PyTape{inputs, self.sizes(), {}});
            }
            {
                const py::gil_scoped_release nogil;
                if (keep) {
                    self.forward(inputs.graph, tape->tape, weights_data, attended_data);
                } else {
                    self.forward(inputs.graph, weights_data, attended_data);
                }
                engines::rank(weights_data, inputs.graph.num_nodes, ranking_data);
            }
            return py::make_tuple(ranking, weights, attended, std::move(tape));
        }, "nodes"_a, "indptr"_a, "indices"_a, "edge_features"_a, "query"_a, "hops"_a, "node_features"_a, "keep"_a)
        .def("backward", [](const Engine& self, const PyTape& tape, const py::object& weights,
                            const py::object& attended) {
            const auto& graph = tape.tape.graph;
            const auto& sizes = self.sizes();
            if (!(tape.sizes == sizes)) throw py::value_error("tape must come from an engine of the same sizes");
            const py::ssize_t n = length(graph.num_nodes), dim = length(sizes.dim);
            Array<const Real> grad_weights, grad_attended;
            if (!weights.is_none()) grad_weights = require_finite_array<Real>(weights, "grad_weights", {n});
            if (!attended.is_none()) grad_attended = require_finite_array<Real>(attended, "grad_attended", {dim});
            py::array_t<Real> parameters(length(self.layout().size())), nodes({n, dim}), query(dim),
                edge_features({length(graph.num_edges()), length(sizes.num_edge_features)}),
                node_features({n, length(sizes.num_node_features)});
            const engines::GraphAttentionGradients<Real> gradients{
                parameters.mutable_data(), nodes.mutable_data(), edge_features.mutable_data(), query.mutable_data(),
                node_features.mutable_data()};
            const Real *weights_data = weights.is_none() ? nullptr : grad_weights.data(),
                       *attended_data = attended.is_none() ? nullptr : grad_attended.data();
            {
                const py::gil_scoped_release nogil;
                self.backward(tape.tape, weights_data, attended_data, gradients);
            }
            return py::make_tuple(parameters, nodes, edge_features, query, node_features);
        }, "tape"_a, "grad_weights"_a, "grad_attended"_a);
}

}  // namespace

void register_graph_attention(py::module_& m) {
    register_engine<float>(m, "GraphAttention", "AttentionTape");
    register_engine<double>(m, "GraphAttentionInDouble", "AttentionTapeInDouble");
}

}  // namespace ruvllm::bindings
