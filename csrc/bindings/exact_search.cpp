#include <algorithm>

#include "bindings/checks.hpp"
#include "engines/exact_search.hpp"
#include "kernels/exact_search.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

const float* floats(const py::array& array) { return static_cast<const float*>(array.data()); }

void require_finite_rows(const py::array& vectors, const char* name) {
    const auto num_rows = static_cast<std::size_t>(vectors.shape(0));
    const auto dim = static_cast<std::size_t>(vectors.shape(1));
    const float* values = floats(vectors);
    std::size_t bad = 0;
    {
        const py::gil_scoped_release nogil;
        bad = kernels::first_bad_row(values, num_rows, dim);
    }
    if (bad < num_rows) {
        throw py::value_error(std::string(name) + "[" + std::to_string(bad) +
                              "] must be finite: it holds a NaN or an infinity");
    }
}

void require_rows(const py::array& rows, py::ssize_t num_vectors) {
    const auto* values = static_cast<const std::int64_t*>(rows.data());
    for (py::ssize_t i = 0; i < rows.size(); ++i) {
        if (values[i] < 0 || values[i] >= num_vectors) {
            throw py::value_error("rows[" + std::to_string(i) + "] must be in [0, " + std::to_string(num_vectors) +
                                  ") (" + std::to_string(values[i]) + ")");
        }
    }
}

py::tuple exact_search(const py::object& vectors_object, const py::object& queries_object, py::ssize_t k,
                       const py::object& rows_object, py::ssize_t num_threads) {
    const py::array vectors = require_array<const float>(vectors_object, "vectors", 2);
    const py::array queries = require_array<const float>(queries_object, "queries", 2);
    const py::ssize_t n = vectors.shape(0), dim = vectors.shape(1), num_queries = queries.shape(0);
    if (queries.shape(1) != dim) {
        throw py::value_error(quantity("queries", ("have " + std::to_string(dim) + " columns, as vectors has").c_str(),
                                       queries.shape(1)));
    }
    if (k < 1) throw py::value_error(quantity("k", "be >= 1", k));
    if (num_threads < 1) throw py::value_error(quantity("num_threads", "be >= 1", num_threads));
    require_finite_rows(queries, "queries");

    engines::ExactSearch search{floats(vectors), nullptr, static_cast<std::size_t>(n), floats(queries),
                                static_cast<std::size_t>(num_queries), static_cast<std::size_t>(dim), 0};
    py::array rows;
    if (!rows_object.is_none()) {
        rows = require_array<const std::int64_t>(rows_object, "rows", 1);
        require_rows(rows, n);
        search.rows = static_cast<const std::int64_t*>(rows.data());
        search.num_rows = static_cast<std::size_t>(rows.size());
    }
    search.k = std::min(static_cast<std::size_t>(k), search.num_rows);

    const auto found = static_cast<py::ssize_t>(search.k);
    py::array_t<std::int64_t> labels({num_queries, found});
    py::array_t<float> scores({num_queries, found});
    std::int64_t* labels_out = labels.mutable_data();
    float* scores_out = scores.mutable_data();
    if (labels.size() > 0) {
        const py::gil_scoped_release nogil;
        engines::exact_search(search, static_cast<std::size_t>(num_threads), labels_out, scores_out);
    }
    return py::make_tuple(labels, scores);
}

}  // namespace

void register_exact_search(py::module_& m) {
    m.def("exact_search", exact_search, "vectors"_a, "queries"_a, "k"_a, "rows"_a, "num_threads"_a);
    m.def(
        "require_finite_rows",
        [](const py::object& vectors) { require_finite_rows(require_array<const float>(vectors, "vectors", 2), "vectors"); },
        "vectors"_a);
}

}  // namespace ruvllm::bindings
