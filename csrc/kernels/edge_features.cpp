#include "kernels/edge_features.hpp"

#include <algorithm>
#include <cmath>

namespace ruvllm::kernels {

void edge_features(const EdgeColumnsView& edges, std::size_t num_types, float now, const float* half_life_s,
                   float* features) {
    float* row = features;
    for (std::size_t e = 0; e < edges.nnz; ++e) {
        const std::size_t type = edges.types[e];
        const float uses = static_cast<float>(edges.successes[e]) + static_cast<float>(edges.failures[e]);
        std::fill_n(row, num_types, 0.0f);
        row[type] = 1.0f;
        row += num_types;
        *row++ = edges.weights[e];
        *row++ = std::exp2(-std::max(now - edges.last_used[e], 0.0f) / half_life_s[type]);
        *row++ = (static_cast<float>(edges.successes[e]) + 1.0f) / (uses + 2.0f);
        *row++ = std::log1p(uses);
        *row++ = edges.directions[e];
    }
}

}  // namespace ruvllm::kernels
