#include <algorithm>

#include "bindings/checks.hpp"
#include "engines/exact_search.hpp"
#include "kernels/exact_search.hpp"
#include "kernels/half.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

constexpr std::size_t kMaxRows = 0x7fffffff;  // rows without columns take no memory: there could be 2^63 of them

void require_finite_rows(const Array<const float>& vectors, const char* name) {
    if (vectors.size() == 0) return;  // however many rows it claims
    std::size_t bad = 0;
    {
        const py::gil_scoped_release nogil;
        bad = kernels::first_bad_row(vectors.data(), vectors.shape(0), vectors.shape(1));
    }
    if (bad < vectors.shape(0)) {
        throw py::value_error(std::string(name) + "[" + std::to_string(bad) +
                              "] must be finite: it holds a NaN or an infinity");
    }
}

void require_rows(const Array<const std::int64_t>& rows, std::size_t num_vectors) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (rows[i] < 0 || static_cast<std::size_t>(rows[i]) >= num_vectors) {
            throw bad_value("rows[" + std::to_string(i) + "]", "be in [0, " + std::to_string(num_vectors) + ")", rows[i]);
        }
    }
}

template <typename T>  // float, or uint16_t for the bits of float16
py::tuple exact_search(const py::object& vectors_object, const py::object& queries_object, py::ssize_t k,
                       const py::object& rows_object, py::ssize_t num_threads) {
    const auto vectors = require<const T>(vectors_object, "vectors", {kAny, kAny});
    const auto queries = require<const float>(queries_object, "queries",
                                              {kAny, static_cast<py::ssize_t>(vectors.shape(1))});
    if (vectors.shape(0) > kMaxRows) {
        throw bad_value("vectors", "have at most " + std::to_string(kMaxRows) + " rows",
                        static_cast<py::ssize_t>(vectors.shape(0)));
    }
    if (k < 1) throw bad_value("k", "be >= 1", k);
    if (num_threads < 1) throw bad_value("num_threads", "be >= 1", num_threads);
    require_finite_rows(queries, "queries");

    engines::ExactSearch search{nullptr, nullptr, nullptr, vectors.shape(0), queries.data(),
                                queries.shape(0), vectors.shape(1), 0};
    if constexpr (std::is_same_v<T, float>) {
        search.vectors = vectors.data();
    } else {
        search.halves = vectors.data();
    }
    Array<const std::int64_t> rows;
    if (!rows_object.is_none()) {
        rows = require<const std::int64_t>(rows_object, "rows", {kAny});
        require_rows(rows, vectors.shape(0));
        search.rows = rows.data();
        search.num_rows = rows.size();
    }
    search.k = std::min(static_cast<std::size_t>(k), search.num_rows);

    const auto num_queries = static_cast<py::ssize_t>(search.num_queries), found = static_cast<py::ssize_t>(search.k);
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

py::array_t<float> widen_rows(const py::object& halves_object, const py::object& rows_object) {
    const auto halves = require<const std::uint16_t>(halves_object, "halves", {kAny, kAny});
    const auto rows = require<const std::int64_t>(rows_object, "rows", {kAny});
    require_rows(rows, halves.shape(0));
    py::array_t<float> out({static_cast<py::ssize_t>(rows.size()), static_cast<py::ssize_t>(halves.shape(1))});
    kernels::widen_rows(halves.data(), rows.data(), rows.size(), halves.shape(1), out.mutable_data());
    return out;
}

}  // namespace

void register_exact_search(py::module_& m) {
    m.def("exact_search", exact_search<float>, "vectors"_a, "queries"_a, "k"_a, "rows"_a, "num_threads"_a);
    m.def("exact_search_halves", exact_search<std::uint16_t>, "vectors"_a, "queries"_a, "k"_a, "rows"_a,
          "num_threads"_a);
    m.def("widen_rows", widen_rows, "halves"_a, "rows"_a);
    m.def(
        "require_finite_rows",
        [](const py::object& vectors) {
            require_finite_rows(require<const float>(vectors, "vectors", {kAny, kAny}), "vectors");
        },
        "vectors"_a);
}

}  // namespace ruvllm::bindings
