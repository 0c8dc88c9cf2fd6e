#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_bm25(py::module_&) {}

}  // namespace ruvllm::bindings
