#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_edge_decay(py::module_&) {}

}  // namespace ruvllm::bindings
