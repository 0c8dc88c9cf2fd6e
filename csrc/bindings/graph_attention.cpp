#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_graph_attention(py::module_&) {}

}  // namespace ruvllm::bindings
