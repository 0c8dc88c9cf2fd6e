// Power iteration that pushes each node's score along its links: one multiply-add a link, all in cache.
#include "kernels/pagerank.hpp"

#include <cmath>
#include <utility>

namespace ruvllm::kernels {
namespace {

// The sum of term(0) .. term(n - 1) in four float64 partial sums, because one would wait for itself at every step.
template <typename Term>
double sum_of(std::size_t n, const Term& term) {
    double acc[4] = {};
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (std::size_t k = 0; k < 4; ++k) acc[k] += term(i + k);
    }
    for (; i < n; ++i) acc[0] += term(i);
    return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

// damping * P is `transition` and, for the links of nodes to themselves, `kept`; dangling = damping for rows with no
// weight to give away, else 0.
void normalise(const Links& links, const PageRank& settings, double* transition, double* kept, double* dangling) {
    for (std::size_t i = 0; i < links.n; ++i) {
        const std::int64_t begin = links.indptr[i], end = links.indptr[i + 1];
        double sum = settings.stay;
        for (std::int64_t e = begin; e < end; ++e) {
            transition[e] = links.weights[e];
            if (links.types) transition[e] *= links.type_weights[links.types[e]];
            sum += transition[e];
        }
        const double scale = sum > 0.0 ? settings.damping / sum : 0.0;
        for (std::int64_t e = begin; e < end; ++e) transition[e] *= scale;
        kept[i] = settings.stay * scale;
        dangling[i] = sum > 0.0 ? 0.0 : settings.damping;
    }
}

}  // namespace

std::size_t pagerank(const Links& links, const float* restart, const PageRank& settings, double* scratch,
                     float* scores) {
    const std::size_t n = links.n;
    double *p = scratch, *next = p + n, *dangling = next + n, *kept = dangling + n, *transition = kept + n;
    normalise(links, settings, transition, kept, dangling);
    double total = 0.0;
    for (std::size_t i = 0; i < n; ++i) total += restart[i];
    for (std::size_t i = 0; i < n; ++i) p[i] = restart[i] / total;

    std::size_t iteration = 0;
    for (double change = settings.tolerance; change >= settings.tolerance && iteration < settings.max_iterations;
         ++iteration) {
        // (1 - damping) + damping d
        const double returned = 1.0 - settings.damping + sum_of(n, [&](std::size_t i) { return dangling[i] * p[i]; });
        for (std::size_t i = 0; i < n; ++i) next[i] = returned * (restart[i] / total) + p[i] * kept[i];
        for (std::size_t i = 0; i < n; ++i) {
            for (std::int64_t e = links.indptr[i]; e < links.indptr[i + 1]; ++e) {
                next[links.indices[e]] += p[i] * transition[e];
            }
        }
        change = sum_of(n, [&](std::size_t i) { return std::fabs(next[i] - p[i]); });
        std::swap(p, next);
    }
    for (std::size_t i = 0; i < n; ++i) scores[i] = static_cast<float>(p[i]);
    return iteration;
}

}  // namespace ruvllm::kernels
