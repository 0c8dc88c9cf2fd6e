// A packed corpus as bytes and back.
#pragma once

#include <string>
#include <string_view>

#include "engines/bm25_corpus.hpp"

namespace ruvllm::engines::bm25 {

std::string to_bytes(const Packed& packed);

// Throws std::invalid_argument when the bytes are not what `to_bytes` wrote. The documents in them are not looked at.
Packed from_bytes(std::string_view bytes);

}  // namespace ruvllm::engines::bm25
