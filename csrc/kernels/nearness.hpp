// How near a question's candidates are to it, and to what it asks beyond the strongest of them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ruvllm::kernels {

struct NearnessInputs {
    const float* vectors;         // (num_known, dim)
    const std::int64_t* known;    // (num_known,) ascending in [0, n): whose vectors these are
    const float* question;        // (dim,)
    const std::int64_t* indptr;   // (n + 1,) int64, ascending from 0: the links of the n candidates
    const std::int32_t* indices;  // (nnz,) int32 in [0, n)
    std::size_t num_known, dim, n;
    std::size_t num_strong;  // of the candidates, the first
};

constexpr std::size_t nearness_scratch(std::size_t num_known, std::size_t dim) { return num_known + dim; }

// similarity[i] = question . vector[i], 0 without a vector. Each strong candidate s leaves of the question
// question - similarity[s] vector[s], made a unit vector; rest[i] is the largest of 0 and the products of vector[i]
// with what those strong candidates leave that are linked to i.
//   row_of      (n,) int64, scratch
//   scratch     (nearness_scratch(num_known, dim),) float32
//   similarity  (n,) float32, out
//   rest        (n,) float32, out
void nearness(const NearnessInputs& in, std::int64_t* row_of, float* scratch, float* similarity, float* rest);

}  // namespace ruvllm::kernels
