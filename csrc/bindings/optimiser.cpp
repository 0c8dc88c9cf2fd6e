#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_optimiser(py::module_&) {}

}  // namespace ruvllm::bindings
