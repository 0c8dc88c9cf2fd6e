#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_probe(py::module_&) {}

}  // namespace ruvllm::bindings
