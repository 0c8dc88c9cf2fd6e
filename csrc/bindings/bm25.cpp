#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "bindings/checks.hpp"
#include "engines/bm25.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;
using engines::Bm25;

Array<const std::uint64_t> require_terms(const py::object& object, const char* name) {
    return require<const std::uint64_t>(object, name, {kAny});
}

// Documents as compressed rows: those of document i are terms[indptr[i] : indptr[i + 1]].
struct Documents {
    Array<const std::int64_t> ids;
    Array<const std::uint64_t> terms;
    Array<const std::int64_t> indptr;

    Documents(const py::object& terms_object, const py::object& indptr_object)
        : terms(require_terms(terms_object, "terms")),
          indptr(require<const std::int64_t>(indptr_object, "indptr", {kAny})) {
        if (indptr.size() == 0 || indptr[0] != 0) throw py::value_error("indptr must start with 0");
        for (std::size_t i = 1; i < indptr.size(); ++i) {
            if (indptr[i] < indptr[i - 1] || indptr[i] - indptr[i - 1] >= std::numeric_limits<std::uint32_t>::max()) {
                throw py::value_error("indptr must ascend, by less than 2^32 - 1 (entry " + std::to_string(i) + ")");
            }
        }
        if (static_cast<std::size_t>(indptr[indptr.size() - 1]) != terms.size()) {
            throw bad_value("indptr", "end with " + std::to_string(terms.size()) + ", the number of terms",
                            static_cast<py::ssize_t>(indptr[indptr.size() - 1]));
        }
    }

    engines::Bm25::Documents view() const {
        return {ids.size() > 0 ? ids.data() : nullptr, terms.data(), indptr.data(), indptr.size() - 1};
    }
};

template <typename T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

std::unique_ptr<Bm25> make(double k1, double b) {
    if (!(k1 >= 0.0 && k1 <= 1000.0)) throw bad_value("k1", "be in [0, 1000]", text_of(py::float_(k1)));
    if (!(b >= 0.0 && b <= 1.0)) throw bad_value("b", "be in [0, 1]", text_of(py::float_(b)));
    return std::make_unique<Bm25>(k1, b);
}

void add(Bm25& index, const py::object& ids, const py::object& terms, const py::object& indptr) {
    Documents documents(terms, indptr);
    documents.ids = require<const std::int64_t>(ids, "ids", {static_cast<py::ssize_t>(documents.indptr.size() - 1)});
    const py::gil_scoped_release nogil;
    index.add(documents.view());
}

void remove(Bm25& index, const py::object& ids_object) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    const py::gil_scoped_release nogil;
    index.remove(ids.data(), ids.size());
}

py::tuple search(const Bm25& index, const py::object& query_object, py::ssize_t k, const py::object& among_object) {
    const auto query = require_terms(query_object, "query");
    if (k < 1) throw bad_value("k", "be >= 1", k);
    Array<const std::int64_t> among;
    const std::int64_t* ids = nullptr;
    std::size_t num_ids = 0;
    if (!among_object.is_none()) {
        among = require<const std::int64_t>(among_object, "among", {kAny});
        ids = among.data();
        num_ids = among.size();
    }
    Bm25::Found found;
    {
        const py::gil_scoped_release nogil;
        found = index.search(query.data(), query.size(), static_cast<std::size_t>(k), ids, num_ids);
    }
    return py::make_tuple(array_of(found.ids), array_of(found.scores));
}

py::array_t<float> scores_of(const Bm25& index, const py::object& query_object, const py::object& terms,
                             const py::object& indptr) {
    const auto query = require_terms(query_object, "query");
    const Documents documents(terms, indptr);
    std::vector<float> scores;
    {
        const py::gil_scoped_release nogil;
        scores = index.scores_of(query.data(), query.size(), documents.view());
    }
    return array_of(scores);
}

py::array_t<std::int64_t> ids(const Bm25& index) {
    std::vector<std::int64_t> ids;
    {
        const py::gil_scoped_release nogil;
        ids = index.ids();
    }
    return array_of(ids);
}

py::array_t<bool> contains(const Bm25& index, const py::object& ids_object) {
    const auto ids = require<const std::int64_t>(ids_object, "ids", {kAny});
    py::array_t<bool> found(static_cast<py::ssize_t>(ids.size()));
    bool* out = found.mutable_data();
    {
        const py::gil_scoped_release nogil;
        index.contains(ids.data(), ids.size(), out);
    }
    return found;
}

py::tuple size(const Bm25& index) {
    Bm25::Size size{};
    {
        const py::gil_scoped_release nogil;
        size = index.size();
    }
    return py::make_tuple(size.documents, size.postings, size.bytes);
}

py::bytes snapshot(const Bm25& index) {
    std::string bytes;
    {
        const py::gil_scoped_release nogil;
        bytes = index.snapshot();
    }
    return py::bytes(bytes);
}

void restore(Bm25& index, const py::bytes& snapshot) {
    const auto bytes = static_cast<std::string_view>(snapshot);
    const py::gil_scoped_release nogil;
    index.restore(bytes);
}

}  // namespace

void register_bm25(py::module_& m) {
    py::class_<Bm25>(m, "Bm25")
        .def(py::init(&make), "k1"_a, "b"_a)
        .def("add", add, "ids"_a, "terms"_a, "indptr"_a)
        .def("remove", remove, "ids"_a)
        .def("search", search, "query"_a, "k"_a, "among"_a)
        .def("scores_of", scores_of, "query"_a, "terms"_a, "indptr"_a)
        .def("ids", ids)
        .def("contains", contains, "ids"_a)
        .def("size", size)
        .def("snapshot", snapshot)
        .def("restore", restore, "snapshot"_a);
}

}  // namespace ruvllm::bindings
