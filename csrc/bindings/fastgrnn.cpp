#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_fastgrnn(py::module_&) {}

}  // namespace ruvllm::bindings
