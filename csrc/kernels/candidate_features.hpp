// What ranking sees of each candidate of a question.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/neighbour_maxima.hpp"

namespace ruvllm::kernels {

// A link's group is its way: 2 k for the k-th sort of links going out, 2 k + 1 for those coming in.
struct FeatureGraph {
    const float *prior, *similarity, *keyword, *fused, *named, *rest, *speaker;  // (n,) each
    const std::int64_t* place;    // (n,) equal for nodes of one document
    const std::int64_t* degrees;  // (n, 2) links that leave and reach a node in the whole graph
    GroupedLinks links;
    std::size_t cites_in;  // the way of what cites a node
    std::size_t order;     // the first of two ways, one after another: what precedes and follows a node
};

constexpr std::size_t num_candidate_features(std::size_t num_ways) { return 6 + 2 * num_ways + 7; }
constexpr std::size_t candidate_features_scratch(std::size_t n, std::size_t num_ways) { return n * (5 + 4 * num_ways); }

// features (n, num_candidate_features(num_ways)) float32, out. With score = max(0, similarity - best + 1) + keyword / 2
// and called = 2 where named > 0, else 0, the columns are
//   log(prior + floor), 4 (similarity - best), 2 keyword, 2 keyword similarity, 4 fused, called,
//   for each way the largest `called` and the largest `score` of the nodes there, at least 0,
//   the largest, along cites_in, of their own largest score along cites_in; the same along the two ways of order,
//   log(1 + out) / 2, log(1 + in) / 2, 4 rest, speaker, the mean score of the other nodes of the same place.
// scratch (candidate_features_scratch(n, num_ways),) float32; rows (n,).
void candidate_features(const FeatureGraph& graph, float floor, float* scratch, std::uint32_t* rows, float* features);

}  // namespace ruvllm::kernels
