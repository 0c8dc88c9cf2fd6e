// A few hundred nodes with some ten links each: all in cache, most of the time is exp and pow.
#include "kernels/walk_prior.hpp"

#include <algorithm>
#include <cmath>

namespace ruvllm::kernels {
namespace {

// How near each node is, with what stands beside it.
void nearness_of(const WalkGraph& graph, float* near) {
    const Links& links = graph.links;
    for (std::size_t i = 0; i < links.n; ++i) {
        double sum = graph.similarity[i], weight = 1.0;
        for (std::int64_t e = links.indptr[i]; e < links.indptr[i + 1]; ++e) {
            const std::int32_t j = links.indices[e];
            const double share = double{graph.beside[links.types[e]]} * graph.trust[j];
            sum += share * graph.similarity[j];
            weight += share;
        }
        near[i] = static_cast<float>(sum / weight) + graph.bonus[i];
    }
}

// How much rather a walk goes to each node, whatever leads there.
void appeal_of(const WalkGraph& graph, const WalkSettings& settings, const float* near, float* appeal) {
    const std::size_t n = graph.links.n;
    double sum = 0.0, squares = 0.0;
    for (std::size_t i = 0; i < n; ++i) sum += near[i];
    const double mean = sum / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) squares += (near[i] - mean) * (near[i] - mean);
    const auto deviation = static_cast<float>(std::sqrt(squares / static_cast<double>(n))) + 1e-6f;
    for (std::size_t i = 0; i < n; ++i) {
        const float z = std::clamp((near[i] - static_cast<float>(mean)) / deviation, -3.0f, 3.0f);
        const auto reached = static_cast<float>(graph.degrees[2 * i + 1]);
        appeal[i] = std::exp(settings.relevance * z) * std::pow(1.0f + reached, -settings.hubness);
    }
}

void scale_to_one(float* values, std::size_t n) {
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i) sum += values[i];
    for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<float>(values[i] / sum);
}

}  // namespace

void walk(const WalkGraph& graph, const WalkSettings& settings, float* scratch, float* weights, float* start) {
    const Links& links = graph.links;
    const std::size_t n = links.n;
    float *near = scratch, *appeal = near + n, *spare = appeal + n;
    nearness_of(graph, near);
    appeal_of(graph, settings, near, appeal);
    const std::size_t nnz = static_cast<std::size_t>(links.indptr[n]);
    for (std::size_t e = 0; e < nnz; ++e) {
        weights[e] = links.weights[e] * appeal[links.indices[e]] * (graph.directions[e] == 0 ? settings.forward : 1.0f);
    }

    const float nearest = *std::max_element(near, near + n);
    float* score = near;
    bool has_start = false, has_named = false;
    for (std::size_t i = 0; i < n; ++i) {
        score[i] = near[i] - nearest + settings.keyword_weight * (graph.keyword[i] - 1.0f);
        start[i] = std::exp(settings.sharpness * score[i]) * graph.trust[i];
        has_start |= start[i] > 0.0f;
    }
    if (!has_start) std::fill_n(start, n, 1.0f);
    if (n > settings.starts) {
        std::copy_n(start, n, spare);
        std::nth_element(spare, spare + settings.starts - 1, spare + n, [](float a, float b) { return a > b; });
        const float least = spare[settings.starts - 1];
        for (std::size_t i = 0; i < n; ++i) start[i] = start[i] < least ? 0.0f : start[i];
    }
    scale_to_one(start, n);
    float* named = spare;
    for (std::size_t i = 0; i < n; ++i) {
        named[i] = graph.named[i] * std::exp(score[i]);
        has_named |= named[i] > 0.0f;
    }
    if (!has_named) return;
    scale_to_one(named, n);
    for (std::size_t i = 0; i < n; ++i) {
        start[i] = (1.0f - settings.named_share) * start[i] + settings.named_share * named[i];
    }
}

}  // namespace ruvllm::kernels
