// Random numbers that are the same on every platform: the standard library's distributions differ between vendors.
#pragma once

#include <array>
#include <cstdint>

namespace ruvllm::engines {

// xoshiro256++ (Blackman and Vigna 2021), its state filled from the seed by splitmix64.
class Random {
  public:
    using State = std::array<std::uint64_t, 4>;  // never all zero

    explicit Random(std::uint64_t seed) {
        for (std::uint64_t& word : state_) {
            seed += 0x9e3779b97f4a7c15u;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            word = z ^ (z >> 31);
        }
    }
    explicit Random(const State& state) : state_(state) {}

    const State& state() const { return state_; }

    std::uint64_t next() {
        auto& s = state_;
        const std::uint64_t result = rotate(s[0] + s[3], 23) + s[0];
        const std::uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate(s[3], 45);
        return result;
    }

    // In (0, 1), both ends left out: 52 bits and a half, so that the largest does not round to 1.
    double uniform() { return (static_cast<double>(next() >> 12) + 0.5) * 0x1p-52; }

    // In [0, n), each equally likely (Lemire 2019); n >= 1.
    std::uint32_t below(std::uint32_t n) {
        std::uint64_t product = (next() >> 32) * n;
        if (static_cast<std::uint32_t>(product) < n) {
            const std::uint32_t threshold = (0u - n) % n;
            while (static_cast<std::uint32_t>(product) < threshold) product = (next() >> 32) * n;
        }
        return static_cast<std::uint32_t>(product >> 32);
    }

  private:
    static std::uint64_t rotate(std::uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

    State state_;
};

}  // namespace ruvllm::engines
