#include "kernels/candidate_features.hpp"

#include <algorithm>
#include <cmath>

namespace ruvllm::kernels {
namespace {

// values[i] = the mean score of the other nodes of i's place, 0 without any; `stride` apart. Sums are float64.
void write_best_of_place(const std::int64_t* place, const float* score, std::size_t n, std::uint32_t* rows,
                         std::size_t stride, float* values) {
    for (std::size_t i = 0; i < n; ++i) rows[i] = static_cast<std::uint32_t>(i);
    std::sort(rows, rows + n, [place](std::uint32_t a, std::uint32_t b) {
        return place[a] != place[b] ? place[a] < place[b] : a < b;
    });
    for (std::size_t begin = 0, end = 0; begin < n; begin = end) {
        double total = 0.0;
        for (; end < n && place[rows[end]] == place[rows[begin]]; ++end) total += score[rows[end]];
        const auto others = static_cast<double>(std::max<std::size_t>(end - begin - 1, 1));
        for (std::size_t i = begin; i < end; ++i) {
            values[rows[i] * stride] = static_cast<float>((total - score[rows[i]]) / others);
        }
    }
}

}  // namespace

void candidate_features(const FeatureGraph& graph, float floor, float* scratch, std::uint32_t* rows, float* features) {
    const std::size_t n = graph.links.n, num_ways = graph.links.num_groups;
    const std::size_t num_features = num_candidate_features(num_ways);
    float *values = scratch, *score = values + 2 * n, *onward = score + n;
    float *near = onward + 2 * n, *twice = near + 2 * n * num_ways;
    const float best = *std::max_element(graph.similarity, graph.similarity + n);
    for (std::size_t i = 0; i < n; ++i) {
        score[i] = std::max(graph.similarity[i] - best + 1.0f, 0.0f) + 0.5f * graph.keyword[i];
        values[2 * i] = graph.named[i] > 0.0f ? 2.0f : 0.0f;
        values[2 * i + 1] = score[i];
    }
    neighbour_maxima(graph.links, values, 2, near);  // (n, num_ways, 2)
    const auto score_at = [&](std::size_t i, std::size_t way) { return near[(i * num_ways + way) * 2 + 1]; };
    for (std::size_t i = 0; i < n; ++i) {
        onward[2 * i] = score_at(i, graph.cites_in);
        onward[2 * i + 1] = std::max(score_at(i, graph.order), score_at(i, graph.order + 1));
    }
    neighbour_maxima(graph.links, onward, 2, twice);
    for (std::size_t i = 0; i < n; ++i) {
        float* row = features + i * num_features;
        const float similarity = graph.similarity[i], keyword = graph.keyword[i];
        *row++ = std::log(graph.prior[i] + floor);
        *row++ = 4.0f * (similarity - best);
        *row++ = 2.0f * keyword;
        *row++ = 2.0f * keyword * similarity;
        *row++ = 4.0f * graph.fused[i];
        *row++ = values[2 * i];
        row = std::copy_n(near + i * 2 * num_ways, 2 * num_ways, row);
        const float* there = twice + i * 2 * num_ways;
        *row++ = there[2 * graph.cites_in];
        *row++ = std::max(there[2 * graph.order + 1], there[2 * graph.order + 3]);
        *row++ = 0.5f * static_cast<float>(std::log1p(static_cast<double>(graph.degrees[2 * i])));
        *row++ = 0.5f * static_cast<float>(std::log1p(static_cast<double>(graph.degrees[2 * i + 1])));
        *row++ = 4.0f * graph.rest[i];
        *row++ = graph.speaker[i];
    }
    write_best_of_place(graph.place, score, n, rows, num_features, features + num_features - 1);
}

}  // namespace ruvllm::kernels
