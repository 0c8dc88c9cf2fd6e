#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_graph(py::module_&) {}

}  // namespace ruvllm::bindings
