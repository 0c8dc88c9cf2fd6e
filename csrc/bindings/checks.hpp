// What every binding checks before it lets go of the interpreter: type, order, shape, content.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/exact_search.hpp"

namespace ruvllm::bindings {

namespace py = pybind11;

inline constexpr py::ssize_t kAny = -1;  // in a shape: any length

inline std::string text_of(const py::handle& object) { return py::str(object).cast<std::string>(); }

// "name must WHAT (found)"
inline py::value_error bad_value(const std::string& name, const std::string& what, const std::string& found) {
    return py::value_error(name + " must " + what + " (" + found + ")");
}
inline py::value_error bad_value(const std::string& name, const std::string& what, py::ssize_t found) {
    return bad_value(name, what, std::to_string(found));
}

// An array that passed its checks: a pointer, a shape, and the reference that keeps both alive.
template <typename T>
class Array {
  public:
    Array() = default;
    explicit Array(py::array array) : array_(std::move(array)) {}

    T* data() const { return static_cast<T*>(const_cast<void*>(array_.data())); }
    std::size_t size() const { return static_cast<std::size_t>(array_.size()); }
    std::size_t shape(py::ssize_t axis) const { return static_cast<std::size_t>(array_.shape(axis)); }
    const T& operator[](std::size_t i) const { return data()[i]; }
    Array copy() const {
        const std::vector<py::ssize_t> shape(array_.shape(), array_.shape() + array_.ndim());
        return Array(py::array_t<std::remove_const_t<T>>(shape, data()));
    }

  private:
    py::array array_;
};

// `object` as an aligned, C-contiguous array of T of this shape (kAny: any length); never a copy.
// A plain T must be writable, a const T need not.
template <typename T>
Array<T> require(const py::object& object, const char* name, std::initializer_list<py::ssize_t> shape) {
    using Value = std::remove_const_t<T>;
    if (!py::isinstance<py::array>(object)) {
        throw py::type_error(std::string(name) + " must be a numpy array (" +
                             text_of(py::type::handle_of(object).attr("__name__")) + ")");
    }
    auto array = py::reinterpret_borrow<py::array>(object);
    if (!py::isinstance<py::array_t<Value>>(array)) {
        throw bad_value(name, "have dtype " + text_of(py::dtype::of<Value>()), text_of(array.dtype()));
    }
    if (array.ndim() != static_cast<py::ssize_t>(shape.size())) {
        throw bad_value(name, "have " + std::to_string(shape.size()) + " dimensions", array.ndim());
    }
    py::ssize_t axis = 0;
    for (const py::ssize_t length : shape) {
        if (length != kAny && array.shape(axis) != length) {
            const std::string which = shape.size() == 1 ? "entries" : axis == 0 ? "rows" : "columns";
            throw bad_value(name, "have " + std::to_string(length) + " " + which, array.shape(axis));
        }
        ++axis;
    }
    constexpr int kOrder = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
    if ((array.flags() & kOrder) != kOrder) {
        throw py::value_error(std::string(name) + " must be C-contiguous and aligned: pass np.ascontiguousarray(" +
                              name + ")");
    }
    if (!std::is_const_v<T> && !array.writeable()) {
        throw py::value_error(std::string(name) + " must be writable");
    }
    return Array<T>(std::move(array));
}

// Every entry finite; for small arrays, at every call.
template <typename T>
void require_finite(const Array<T>& values, const char* name) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(values[i])) {
            throw py::value_error(std::string(name) + " must be finite: entry " + std::to_string(i) +
                                  " is a NaN or an infinity");
        }
    }
}

// `require` and every entry finite, at the speed of memory in float32. Bad rows are named where there are rows.
template <typename Real>
Array<const Real> require_finite_array(const py::object& object, const char* name,
                                       std::initializer_list<py::ssize_t> shape) {
    auto array = require<const Real>(object, name, shape);
    if (array.size() == 0) return array;
    if constexpr (std::is_same_v<Real, float>) {
        if (kernels::first_bad_row(array.data(), 1, array.size()) == 1) return array;
    }
    if (shape.size() == 1) {
        require_finite(array, name);
        return array;
    }
    const std::size_t row_size = array.size() / array.shape(0);
    for (std::size_t i = 0; i < array.size(); ++i) {
        if (std::isfinite(array[i])) continue;
        throw py::value_error(std::string(name) + "[" + std::to_string(i / row_size) +
                              "] must be finite: it holds a NaN or an infinity");
    }
    return array;
}

// No byte of `written` belongs to `other`.
template <typename T, typename U>
void require_apart(const Array<T>& written, const char* name, const Array<U>& other, const char* other_name) {
    const auto start = reinterpret_cast<std::uintptr_t>(written.data());
    const auto other_start = reinterpret_cast<std::uintptr_t>(other.data());
    if (start < other_start + other.size() * sizeof(U) && other_start < start + written.size() * sizeof(T)) {
        throw py::value_error(std::string(other_name) + " must not share memory with " + name + ": pass a copy");
    }
}

template <typename Number>
void require_finite(Number value, const char* name) {
    if (!std::isfinite(value)) throw py::value_error(std::string(name) + " must be finite");
}

// Compressed sparse rows: indptr ascends from 0 to the number of entries, and every index is in [0, num_columns).
template <typename Pointer, typename Index>
void require_csr(const Array<Pointer>& indptr, const Array<Index>& indices, std::size_t num_columns) {
    if (indptr.size() == 0 || indptr[0] != 0) throw py::value_error("indptr must start with 0");
    for (std::size_t i = 1; i < indptr.size(); ++i) {
        if (indptr[i] < indptr[i - 1]) {
            throw py::value_error("indptr must ascend (entry " + std::to_string(i) + " is below the one before)");
        }
    }
    const auto last = static_cast<py::ssize_t>(indptr[indptr.size() - 1]);
    if (static_cast<std::size_t>(last) != indices.size()) {
        throw bad_value("indptr", "end with " + std::to_string(indices.size()) + ", the number of indices", last);
    }
    for (std::size_t i = 0; i < indices.size(); ++i) {
        if (indices[i] < 0 || static_cast<std::size_t>(indices[i]) >= num_columns) {
            throw bad_value("indices[" + std::to_string(i) + "]", "be in [0, " + std::to_string(num_columns) + ")",
                            static_cast<py::ssize_t>(indices[i]));
        }
    }
}

}  // namespace ruvllm::bindings
