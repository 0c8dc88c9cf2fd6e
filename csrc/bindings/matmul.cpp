// The products that other kernels are made of; bound for their tests only.
#include "kernels/matmul.hpp"

#include <vector>

#include "bindings/checks.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

template <typename Real>
void product(const std::string& form, const py::object& a_object, const py::object& b_object,
             const py::object& out_object, bool add) {
    const auto out = require<Real>(out_object, "out", {kAny, kAny});
    const auto m = static_cast<py::ssize_t>(out.shape(0)), n = static_cast<py::ssize_t>(out.shape(1));
    const bool is_tn = form == "tn", is_nt = form == "nt";
    const auto a = require<const Real>(a_object, "a", {is_tn ? kAny : m, is_tn ? m : kAny});
    const auto k = static_cast<py::ssize_t>(a.shape(is_tn ? 0 : 1));
    const auto b = require<const Real>(b_object, "b", {is_nt ? n : k, is_nt ? k : n});
    const std::size_t lda = a.shape(1), ldb = b.shape(1), ldo = out.shape(1), depth = a.shape(is_tn ? 0 : 1);
    if (is_tn) return kernels::matmul_tn(a.data(), lda, b.data(), ldb, out.shape(0), ldo, depth, add, out.data(), ldo);
    if (is_nt) return kernels::matmul_nt(a.data(), lda, b.data(), ldb, out.shape(0), ldo, depth, add, out.data(), ldo);
    if constexpr (std::is_same_v<Real, float>) {
        if (form == "packed") {
            std::vector<float> packed(kernels::packed_size(depth, ldo));
            kernels::pack(b.data(), ldb, 1, depth, ldo, packed.data());
            return kernels::matmul_packed(a.data(), lda, packed.data(), out.shape(0), ldo, depth, add, out.data(), ldo);
        }
    }
    if (form != "nn") throw bad_value("form", "be one of nn, tn, nt, packed (float32)", form);
    kernels::matmul(a.data(), lda, b.data(), ldb, out.shape(0), ldo, depth, add, out.data(), ldo);
}

}  // namespace

void register_matmul(py::module_& m) {
    m.def(
        "_matmul",
        [](const std::string& form, const py::object& a, const py::object& b, const py::object& out, bool add) {
            if (py::isinstance<py::array_t<double>>(out)) return product<double>(form, a, b, out, add);
            product<float>(form, a, b, out, add);
        },
        "form"_a, "a"_a, "b"_a, "out"_a, "add"_a);
}

}  // namespace ruvllm::bindings
