// The prior of a question's candidates: where a walk from what it names and resembles is to be found.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/pagerank.hpp"

namespace ruvllm::kernels {

// The nodes that may answer a question, n of them. Links are compressed sparse rows, each link seen from both ends.
struct WalkGraph {
    const float* similarity;           // (n,) cosine to the question
    const float* bonus;                // (n,) added to how near a node is
    const float* keyword;              // (n,) BM25 relative to the best, in [0, 1]
    const float* named;                // (n,) >= 0, weight of those the question calls by name
    const float* trust;                // (n,) >= 0
    const std::int64_t* degrees;       // (n, 2) links that leave and reach a node in the whole graph, >= 0
    const std::uint8_t* directions;    // (nnz,) 0: the link leads from the row's node, else it comes from there
    const float* beside;               // (num_types,) >= 0, what the similarity of a neighbour counts by type
    Links links;
};

struct WalkSettings {
    float relevance;       // how strongly a walk prefers nodes near the question
    float forward;         // how much rather a link is followed in its own direction
    float hubness;         // a link counts (1 + links that reach its end)^-hubness
    float sharpness;       // of the start
    float keyword_weight;  // of BM25, beside the cosine, in the score of a start
    float named_share;     // of the start, in [0, 1], that named nodes have
    std::size_t starts;    // best nodes at which the walk may start, >= 1
};

// With near_i = (similarity_i + sum of b_e similarity_j) / (1 + sum of b_e) + bonus_i over the links e of i, j being
// where a link leads and b_e = beside trust_j by its type, and z the standardised near, clipped to [-3, 3]:
//   weights[e]  w_e exp(relevance z_j) (1 + in_j)^-hubness, times `forward` in the link's own direction
//   start[i]    trust_i exp(sharpness s_i), s = near - max near + keyword_weight (keyword - 1), for the `starts`
//               largest of these (equal to the last: all), else 0; summing to 1; all alike where no node has trust.
//               Where nodes are named, it is mixed with named_i exp(s_i), summing to 1, which then has the share
//               named_share.
// scratch (3 n,) float32. Sums are float64, the rest is float32.
void walk(const WalkGraph& graph, const WalkSettings& settings, float* scratch, float* weights, float* start);

}  // namespace ruvllm::kernels
