// What every binding checks before it lets go of the interpreter: type, order, shape, content.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>

namespace ruvllm::bindings {

namespace py = pybind11;

inline std::string text_of(const py::handle& object) { return py::str(object).cast<std::string>(); }

inline std::string quantity(const char* name, const char* what, py::ssize_t found) {
    return std::string(name) + " must " + what + " (" + std::to_string(found) + ")";
}

// Return `object` as an aligned, C-contiguous array of T with `ndim` dimensions; never a copy.
// A plain T must be writable, a const T need not.
template <typename T>
py::array require_array(const py::object& object, const char* name, py::ssize_t ndim) {
    using Value = std::remove_const_t<T>;
    if (!py::isinstance<py::array>(object)) {
        throw py::type_error(std::string(name) + " must be a numpy array (" +
                             text_of(py::type::handle_of(object).attr("__name__")) + ")");
    }
    const auto array = py::reinterpret_borrow<py::array>(object);
    if (!py::isinstance<py::array_t<Value>>(array)) {
        throw py::value_error(std::string(name) + " must have dtype " + text_of(py::dtype::of<Value>()) + " (" +
                              text_of(array.dtype()) + ")");
    }
    if (array.ndim() != ndim) {
        throw py::value_error(quantity(name, ("have " + std::to_string(ndim) + " dimensions").c_str(), array.ndim()));
    }
    constexpr int kOrder = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
    if ((array.flags() & kOrder) != kOrder) {
        throw py::value_error(std::string(name) + " must be C-contiguous and aligned: pass np.ascontiguousarray(" +
                              name + ")");
    }
    if (!std::is_const_v<T> && !array.writeable()) {
        throw py::value_error(std::string(name) + " must be writable");
    }
    return array;
}

}  // namespace ruvllm::bindings
