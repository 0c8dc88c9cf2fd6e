#include <cmath>
#include <utility>
#include <vector>

#include "bindings/checks.hpp"
#include "bindings/graph_checks.hpp"
#include "kernels/candidate_features.hpp"
#include "kernels/nearness.hpp"
#include "kernels/pagerank.hpp"
#include "kernels/walk_prior.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

constexpr double kTolerance = 1e-4;  // of the prior, L1
constexpr std::size_t kMaxIterations = 100;

// One value a candidate, finite.
Array<const float> require_column(const py::object& object, const char* name, py::ssize_t n) {
    const auto values = require<const float>(object, name, {n});
    require_finite(values, name);
    return values;
}

Array<const std::int64_t> require_degrees(const py::object& object, py::ssize_t n) {
    const auto degrees = require<const std::int64_t>(object, "degrees", {n, 2});
    for (std::size_t i = 0; i < degrees.size(); ++i) {
        if (degrees[i] < 0) throw bad_value("degrees", "be >= 0", static_cast<py::ssize_t>(degrees[i]));
    }
    return degrees;
}

// The links of n nodes, as compressed sparse rows with a type and a direction each.
struct TypedLinks {
    Array<const std::int64_t> indptr;
    Array<const std::int32_t> indices;
    Array<const std::uint8_t> types, directions;

    TypedLinks(const py::object& indptr_object, const py::object& indices_object, const py::object& types_object,
               const py::object& directions_object, std::size_t n, std::size_t num_types)
        : indptr(require<const std::int64_t>(indptr_object, "indptr", {static_cast<py::ssize_t>(n) + 1})),
          indices(require<const std::int32_t>(indices_object, "indices", {kAny})),
          types(require<const std::uint8_t>(types_object, "types", {size()})),
          directions(require<const std::uint8_t>(directions_object, "directions", {size()})) {
        require_csr(indptr, indices, n);
        require_types(types, "types", num_types);
        require_types(directions, "directions", 2);
    }

    py::ssize_t size() const { return static_cast<py::ssize_t>(indices.size()); }
};

py::tuple nearness(const py::object& vectors_object, const py::object& known_object, const py::object& question_object,
                   const py::object& indptr_object, const py::object& indices_object, py::ssize_t num_strong) {
    const auto question = require_column(question_object, "question", kAny);
    const auto vectors = require_finite_array<float>(vectors_object, "vectors",
                                                     {kAny, static_cast<py::ssize_t>(question.size())});
    const auto known = require<const std::int64_t>(known_object, "known", {static_cast<py::ssize_t>(vectors.shape(0))});
    const auto indptr = require<const std::int64_t>(indptr_object, "indptr", {kAny});
    const auto indices = require<const std::int32_t>(indices_object, "indices", {kAny});
    const std::size_t n = indptr.size() == 0 ? 0 : indptr.size() - 1;
    require_csr(indptr, indices, n);
    for (std::size_t k = 0; k < known.size(); ++k) {
        if (known[k] >= static_cast<std::int64_t>(n) || known[k] < (k == 0 ? 0 : known[k - 1] + 1)) {
            throw bad_value("known[" + std::to_string(k) + "]", "ascend in [0, " + std::to_string(n) + ")", known[k]);
        }
    }
    if (num_strong < 0) throw bad_value("num_strong", "be >= 0", num_strong);
    py::array_t<float> similarity(static_cast<py::ssize_t>(n)), rest(static_cast<py::ssize_t>(n));
    float *similarity_out = similarity.mutable_data(), *rest_out = rest.mutable_data();
    {
        const py::gil_scoped_release nogil;
        std::vector<std::int64_t> row_of(n);
        std::vector<float> scratch(kernels::nearness_scratch(known.size(), question.size()));
        kernels::nearness({vectors.data(), known.data(), question.data(), indptr.data(), indices.data(), known.size(),
                           question.size(), n, static_cast<std::size_t>(num_strong)},
                          row_of.data(), scratch.data(), similarity_out, rest_out);
    }
    return py::make_tuple(similarity, rest);
}

py::array_t<float> walk_prior(const py::object& similarity_object, const py::object& bonus_object,
                              const py::object& keyword_object, const py::object& named_object,
                              const py::object& trust_object, const py::object& degrees_object,
                              const py::object& indptr_object, const py::object& indices_object,
                              const py::object& weights_object, const py::object& types_object,
                              const py::object& directions_object, const py::object& type_weights_object,
                              const py::object& beside_object, float relevance, float forward, float hubness,
                              float sharpness, float keyword_weight, float named_share, py::ssize_t starts,
                              double damping, double stay) {
    const auto similarity = require_column(similarity_object, "similarity", kAny);
    const auto n = static_cast<py::ssize_t>(similarity.size());
    if (n == 0) throw bad_value("similarity", "have at least 1 entry", n);
    const auto bonus = require_column(bonus_object, "bonus", n);
    const auto keyword = require_column(keyword_object, "keyword", n);
    const auto named = require_column(named_object, "named", n);
    const auto trust = require_column(trust_object, "trust", n);
    require_between(named, "named", 0.0, 1.0);
    require_between(trust, "trust", 0.0, 1.0);
    const auto degrees = require_degrees(degrees_object, n);
    const auto type_weights = require<const float>(type_weights_object, "type_weights", {kAny});
    require_between(type_weights, "type_weights", 0.0, 1e6);
    const auto beside = require<const float>(beside_object, "beside", {static_cast<py::ssize_t>(type_weights.size())});
    require_between(beside, "beside", 0.0, 1e6);
    const TypedLinks links(indptr_object, indices_object, types_object, directions_object, similarity.size(),
                           type_weights.size());
    const auto weights = require<const float>(weights_object, "weights", {links.size()});
    require_between(weights, "weights", 0.0, 1.0);
    for (const auto& [name, value] : {std::pair{"relevance", relevance}, {"forward", forward}, {"hubness", hubness},
                                      {"sharpness", sharpness}, {"keyword_weight", keyword_weight}}) {
        require_between(double{value}, name, 0.0, 100.0);
    }
    require_between(double{named_share}, "named_share", 0.0, 1.0);
    if (!(damping >= 0.0 && damping < 1.0)) throw bad_value("damping", "be in [0, 1)", text_of(py::float_(damping)));
    require_between(stay, "stay", 0.0, 1e6);
    if (starts < 1) throw bad_value("starts", "be >= 1", starts);

    const kernels::WalkGraph graph{
        similarity.data(), bonus.data(), keyword.data(), named.data(), trust.data(), degrees.data(),
        links.directions.data(), beside.data(),
        {links.indptr.data(), links.indices.data(), weights.data(), links.types.data(), type_weights.data(),
         similarity.size()}};
    const kernels::WalkSettings settings{relevance, forward, hubness, sharpness, keyword_weight, named_share,
                                         static_cast<std::size_t>(starts)};
    py::array_t<float> prior(n);
    float* out = prior.mutable_data();
    {
        const py::gil_scoped_release nogil;
        std::vector<float> scratch(3 * similarity.size()), followed(weights.size()), start(similarity.size());
        std::vector<double> pagerank_scratch(kernels::pagerank_scratch(similarity.size(), weights.size()));
        kernels::walk(graph, settings, scratch.data(), followed.data(), start.data());
        kernels::Links along = graph.links;
        along.weights = followed.data();
        kernels::pagerank(along, start.data(), {damping, kTolerance, kMaxIterations, stay}, pagerank_scratch.data(), out);
    }
    return prior;
}

py::array_t<float> candidate_features(const py::object& prior_object, const py::object& similarity_object,
                                      const py::object& keyword_object, const py::object& fused_object,
                                      const py::object& named_object, const py::object& rest_object,
                                      const py::object& speaker_object, const py::object& place_object,
                                      const py::object& degrees_object, const py::object& indptr_object,
                                      const py::object& indices_object, const py::object& types_object,
                                      const py::object& directions_object, const py::object& way_of_object,
                                      py::ssize_t num_ways, py::ssize_t cites_in, py::ssize_t order, double floor) {
    const auto prior = require_column(prior_object, "prior", kAny);
    const auto n = static_cast<py::ssize_t>(prior.size());
    if (n == 0) throw bad_value("prior", "have at least 1 entry", n);
    require_between(prior, "prior", 0.0, 1.0);
    const auto similarity = require_column(similarity_object, "similarity", n);
    const auto keyword = require_column(keyword_object, "keyword", n);
    const auto fused = require_column(fused_object, "fused", n);
    const auto named = require_column(named_object, "named", n);
    const auto rest = require_column(rest_object, "rest", n);
    const auto speaker = require_column(speaker_object, "speaker", n);
    const auto place = require<const std::int64_t>(place_object, "place", {n});
    const auto degrees = require_degrees(degrees_object, n);
    const auto way_of = require<const std::uint8_t>(way_of_object, "way_of", {kAny, 2});
    const TypedLinks links(indptr_object, indices_object, types_object, directions_object, prior.size(),
                           way_of.shape(0));
    if (num_ways < 2 || num_ways > 255) throw bad_value("num_ways", "be in [2, 255]", num_ways);
    if (cites_in < 0 || cites_in >= num_ways) throw bad_value("cites_in", "be below num_ways", cites_in);
    if (order < 0 || order + 1 >= num_ways) throw bad_value("order", "be below num_ways - 1", order);
    require_between(floor, "floor", 1e-30, 1.0);

    const std::size_t size = prior.size(), ways = static_cast<std::size_t>(num_ways);
    py::array_t<float> features({n, static_cast<py::ssize_t>(kernels::num_candidate_features(ways))});
    float* out = features.mutable_data();
    {
        const py::gil_scoped_release nogil;
        std::vector<std::uint8_t> groups(links.types.size());
        for (std::size_t e = 0; e < groups.size(); ++e) groups[e] = way_of[2 * links.types[e] + links.directions[e]];
        std::vector<float> scratch(kernels::candidate_features_scratch(size, ways));
        std::vector<std::uint32_t> rows(size);
        kernels::candidate_features(
            {prior.data(), similarity.data(), keyword.data(), fused.data(), named.data(), rest.data(), speaker.data(),
             place.data(), degrees.data(), {links.indptr.data(), links.indices.data(), groups.data(), size, ways},
             static_cast<std::size_t>(cites_in), static_cast<std::size_t>(order)},
            static_cast<float>(floor), scratch.data(), rows.data(), out);
    }
    return features;
}

}  // namespace

void register_candidates(py::module_& m) {
    m.def("nearness", nearness, "vectors"_a, "known"_a, "question"_a, "indptr"_a, "indices"_a, "num_strong"_a);
    m.def("walk_prior", walk_prior, "similarity"_a, "bonus"_a, "keyword"_a, "named"_a, "trust"_a, "degrees"_a,
          "indptr"_a, "indices"_a, "weights"_a, "types"_a, "directions"_a, "type_weights"_a, "beside"_a, "relevance"_a,
          "forward"_a, "hubness"_a, "sharpness"_a, "keyword_weight"_a, "named_share"_a, "starts"_a, "damping"_a,
          "stay"_a);
    m.def("candidate_features", candidate_features, "prior"_a, "similarity"_a, "keyword"_a, "fused"_a, "named"_a,
          "rest"_a, "speaker"_a, "place"_a, "degrees"_a, "indptr"_a, "indices"_a, "types"_a, "directions"_a, "way_of"_a,
          "num_ways"_a, "cites_in"_a, "order"_a, "floor"_a);
}

}  // namespace ruvllm::bindings
