// Short rows and a handful of values: nothing to gain from vectors.
#include "kernels/neighbour_maxima.hpp"

#include <algorithm>

namespace ruvllm::kernels {

void neighbour_maxima(const GroupedLinks& links, const float* values, std::size_t num_values, float* maxima) {
    const std::size_t row_size = links.num_groups * num_values;
    std::fill_n(maxima, links.n * row_size, 0.0f);
    for (std::size_t i = 0; i < links.n; ++i) {
        for (std::int64_t e = links.indptr[i]; e < links.indptr[i + 1]; ++e) {
            if (links.groups[e] >= links.num_groups) continue;
            const float* from = values + static_cast<std::size_t>(links.indices[e]) * num_values;
            float* best = maxima + i * row_size + links.groups[e] * num_values;
            for (std::size_t v = 0; v < num_values; ++v) best[v] = std::max(best[v], from[v]);
        }
    }
}

}  // namespace ruvllm::kernels
