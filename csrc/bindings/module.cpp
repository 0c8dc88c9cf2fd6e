// ruvllm._core: the compiled core. Its documented face is ruvllm/kernels.py.
#include <pybind11/stl.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "bindings/checks.hpp"
#include "kernels/dispatch.hpp"

namespace ruvllm::bindings {

void register_bm25(py::module_& m);
void register_candidates(py::module_& m);
void register_edge_decay(py::module_& m);
void register_exact_search(py::module_& m);
void register_fastgrnn(py::module_& m);
void register_graph(py::module_& m);
void register_graph_attention(py::module_& m);
void register_matmul(py::module_& m);
void register_neighbour_maxima(py::module_& m);
void register_optimiser(py::module_& m);
void register_pagerank(py::module_& m);
void register_probe(py::module_& m);
void register_quantized_matmul(py::module_& m);
void register_runtime(py::module_& m);
void register_transformer(py::module_& m);

namespace {

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const kernels::Isa isa : kernels::kAllIsas) {
        if (kernels::is_available(isa)) names.emplace_back(kernels::name_of(isa));
    }
    return names;
}

void use_isa(const char* name, const char* argument) {
    kernels::Isa isa{};
    if (!kernels::find_isa(name, isa)) {
        std::string known;
        for (const std::string& available : available_isas()) known += (known.empty() ? "" : ", ") + available;
        throw py::value_error(std::string(argument) + " must be one of " + known + " on this processor (" + name + ")");
    }
    kernels::use_isa(isa);
}

}  // namespace
}  // namespace ruvllm::bindings

PYBIND11_MODULE(_core, m) {
    namespace b = ruvllm::bindings;
    m.doc() = "The compiled core of ruvllm; use ruvllm.kernels.";
    b::use_isa(std::getenv("RUVLLM_ISA"), "RUVLLM_ISA");  // read once, here
    m.def("isa", [] { return ruvllm::kernels::name_of(ruvllm::kernels::active_isa()); });
    m.def("available_isas", b::available_isas);
    m.def("_use_isa", [](const std::string& name) { b::use_isa(name.c_str(), "isa"); });
    b::register_bm25(m);
    b::register_candidates(m);
    b::register_edge_decay(m);
    b::register_exact_search(m);
    b::register_fastgrnn(m);
    b::register_graph(m);
    b::register_graph_attention(m);
    b::register_matmul(m);
    b::register_neighbour_maxima(m);
    b::register_optimiser(m);
    b::register_pagerank(m);
    b::register_probe(m);
    b::register_quantized_matmul(m);
    b::register_runtime(m);
    b::register_transformer(m);
}
