// Personalised PageRank over a small graph: what is near the seeds, before anything has been learnt.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ruvllm::kernels {

// Links of n nodes as compressed sparse rows: row i holds the out-links of i.
struct Links {
    const std::int64_t* indptr;   // (n + 1,) int64, ascending from 0
    const std::int32_t* indices;  // (nnz,) int32 in [0, n)
    const float* weights;         // (nnz,) float32, finite, >= 0
    const std::uint8_t* types;    // (nnz,) uint8, < the number of type_weights; null: every link counts in full
    const float* type_weights;    // factor of each type, finite, >= 0; null with `types`
    std::size_t n;
};

struct PageRank {
    double damping;    // in [0, 1)
    double tolerance;  // > 0, L1
    std::size_t max_iterations;
    double stay = 0.0;  // >= 0, weight of one more link of every node, to itself
};

// Iterates p' = damping (P^T p + d r) + (1 - damping) r from p = r until |p' - p|_1 < tolerance: P holds the weights of
// each row divided by their sum, r is `restart` divided by its sum, d is the share of p on nodes without out-links (or
// with none of positive weight), which returns to r. Returns the number of iterations; as many as max_iterations when
// the tolerance was not reached before.
//   restart  (n,) float32, finite, >= 0, one at least > 0
//   scratch  pagerank_scratch(n, nnz) doubles
//   scores   (n,) float32, out, sums to 1
// float64 throughout. Source: Page et al. 1999; Haveliwala 2002 for the restart vector.
std::size_t pagerank(const Links& links, const float* restart, const PageRank& settings, double* scratch,
                     float* scores);

constexpr std::size_t pagerank_scratch(std::size_t n, std::size_t nnz) { return 4 * n + nnz; }

}  // namespace ruvllm::kernels
