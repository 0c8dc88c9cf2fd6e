// Top-k of a corpus, and scores of documents outside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/bm25.hpp"

namespace ruvllm::engines::bm25 {

// `rows`: the only rows that may come back, ascending; null: all.
Bm25::Found search(const Corpus& corpus, const std::uint64_t* query, std::size_t query_size, std::size_t k,
                   const std::vector<std::uint32_t>* rows);

std::vector<float> scores_of(const Corpus& corpus, const std::uint64_t* query, std::size_t query_size,
                             const Documents& documents);

}  // namespace ruvllm::engines::bm25
