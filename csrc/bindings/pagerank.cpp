#include "bindings/checks.hpp"

namespace ruvllm::bindings {

void register_pagerank(py::module_&) {}

}  // namespace ruvllm::bindings
