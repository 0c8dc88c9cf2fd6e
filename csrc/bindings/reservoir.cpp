#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_reservoir(py::module_&) {}

}  // namespace ruvllm::bindings
