// Four independent lanes of multiply and rotate over stripes of 32 bytes, then the tail, then an avalanche.
#include "kernels/checksum.hpp"

#include <bit>
#include <cstring>

namespace ruvllm::kernels {
namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87u, kPrime2 = 0xC2B2AE3D27D4EB4Fu, kPrime3 = 0x165667B19E3779F9u,
                        kPrime4 = 0x85EBCA77C2B2AE63u, kPrime5 = 0x27D4EB2F165667C5u;

template <typename T>
T read(const unsigned char* at) {  // little-endian, as all processors we build for are
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

std::uint64_t round_of(std::uint64_t acc, std::uint64_t lane) { return std::rotl(acc + lane * kPrime2, 31) * kPrime1; }

std::uint64_t merge(std::uint64_t acc, std::uint64_t lane) { return (acc ^ round_of(0, lane)) * kPrime1 + kPrime4; }

}  // namespace

std::uint64_t hash64(const void* bytes, std::size_t size) {
    const auto* at = static_cast<const unsigned char*>(bytes);
    std::size_t left = size;
    std::uint64_t acc = kPrime5;
    if (size >= 32) {
        std::uint64_t lane[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
        for (; left >= 32; left -= 32) {
            for (std::uint64_t& l : lane) {
                l = round_of(l, read<std::uint64_t>(at));
                at += 8;
            }
        }
        acc = std::rotl(lane[0], 1) + std::rotl(lane[1], 7) + std::rotl(lane[2], 12) + std::rotl(lane[3], 18);
        for (const std::uint64_t l : lane) acc = merge(acc, l);
    }
    acc += size;
    for (; left >= 8; left -= 8, at += 8) {
        acc = std::rotl(acc ^ round_of(0, read<std::uint64_t>(at)), 27) * kPrime1 + kPrime4;
    }
    if (left >= 4) {
        acc = std::rotl(acc ^ read<std::uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
        left -= 4;
        at += 4;
    }
    for (; left > 0; --left, ++at) acc = std::rotl(acc ^ *at * kPrime5, 11) * kPrime1;
    acc = (acc ^ acc >> 33) * kPrime2;
    acc = (acc ^ acc >> 29) * kPrime3;
    return acc ^ acc >> 32;
}

}  // namespace ruvllm::kernels
