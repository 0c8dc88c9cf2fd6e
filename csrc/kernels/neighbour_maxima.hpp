// The best of what each node of a subgraph is linked with, by sort of link.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ruvllm::kernels {

// Links of n nodes as compressed sparse rows, each of one group.
struct GroupedLinks {
    const std::int64_t* indptr;   // (n + 1,) int64, ascending from 0
    const std::int32_t* indices;  // (nnz,) int32 in [0, n)
    const std::uint8_t* groups;   // (nnz,) uint8; a link of a group that is not counted has num_groups or more
    std::size_t n, num_groups;
};

// maxima[i, g, v] = the largest of 0 and values[indices[e], v] over the links e of row i that are of group g.
//   values  (n, num_values) float32, finite
//   maxima  (n, num_groups, num_values) float32, out
void neighbour_maxima(const GroupedLinks& links, const float* values, std::size_t num_values, float* maxima);

}  // namespace ruvllm::kernels
