// A fast 64-bit checksum of stored bytes. Finds damage, not forgery.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ruvllm::kernels {

// XXH64 of `size` bytes with seed 0, at any alignment.
// Source: Collet, the XXH64 algorithm (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
std::uint64_t hash64(const void* bytes, std::size_t size);

}  // namespace ruvllm::kernels
