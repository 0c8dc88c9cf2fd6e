// A packed corpus as bytes: versioned, checksummed, in the byte order of this machine.
#pragma once

#include <cstddef>
#include <string>

#include "engines/bm25_corpus.hpp"

namespace ruvllm::engines::bm25 {

std::string to_bytes(const Packed& packed);

// Throws std::invalid_argument when the bytes are not what `to_bytes` wrote. The documents in them are not looked at.
Packed from_bytes(const char* bytes, std::size_t size);

}  // namespace ruvllm::engines::bm25
