// One vector of edges at a time. What is left at the end goes through a padded copy, so that every edge sees the same
// arithmetic wherever it lies.
#include <cstring>

#include "kernels/edge_decay.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {
namespace {

constexpr std::size_t kMaxTypes = 256;

// -1 / half-life of each type: the exponent of an edge is its age times this. Few types fit in one register.
struct Rates {
    float table[kMaxTypes];
    F32 few;
};

void set_rates(Rates& rates, const EdgeDecay& decay) {
    std::memset(rates.table, 0, kLanes * sizeof(float));
    for (std::size_t type = 0; type < decay.num_types; ++type) rates.table[type] = -1.0f / decay.half_life_s[type];
    rates.few = load(rates.table);
}

enum class Types { one, few, many };

template <Types kTypes>
F32 rate_of(const Rates& rates, const std::uint8_t* types) {
    if constexpr (kTypes == Types::one) return set(rates.table[0]);
    if constexpr (kTypes == Types::few) return lookup(rates.few, load(types));
    return gather(rates.table, load(types));
}

template <Types kTypes>
F32 decayed(const float* weights, const float* last_used, const std::uint8_t* types, F32 now, F32 since,
            const Rates& rates) {
    const F32 age = max(zeros(), sub(now, max(since, load(last_used))));  // max and min keep a NaN on the right
    return mul(load(weights), exp2(mul(age, rate_of<kTypes>(rates, types))));
}

template <Types kTypes>
void decay_all(float* weights, const float* last_used, const std::uint8_t* types, std::size_t n, const EdgeDecay& decay,
               const Rates& rates) {
    const F32 now = set(decay.now), since = set(decay.since);
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        const std::uint8_t* type = kTypes == Types::one ? nullptr : types + i;
        store(weights + i, decayed<kTypes>(weights + i, last_used + i, type, now, since, rates));
    }
    if (i == n) return;
    const std::size_t left = n - i;
    float w[kLanes] = {}, used[kLanes] = {};
    std::uint8_t type[kLanes] = {};
    std::memcpy(w, weights + i, left * sizeof(float));
    std::memcpy(used, last_used + i, left * sizeof(float));
    if (kTypes != Types::one) std::memcpy(type, types + i, left);
    store(w, decayed<kTypes>(w, used, type, now, since, rates));
    std::memcpy(weights + i, w, left * sizeof(float));
}

struct Prune {
    F32 floor;
    I32 min_interactions_minus_1;  // a 32-bit sum of two counts is compared with "less"
};

template <Types kTypes>
std::size_t decay_and_mark(float* weights, const float* last_used, const std::uint8_t* types,
                           const EdgeCounts* counts, F32 now, F32 since, const Rates& rates, const Prune& prune,
                           std::uint8_t* is_prunable) {
    const F32 w = decayed<kTypes>(weights, last_used, types, now, since, rates);
    const I32 pairs = load_pairs(counts), interactions = add(low_halves(pairs), high_halves(pairs));
    const Mask mask = both(is_less(w, prune.floor), is_less(prune.min_interactions_minus_1, interactions));
    store(weights, w);
    store_bytes(is_prunable, mask);
    return count(mask);
}

template <Types kTypes>
std::size_t decay_and_mark_all(float* weights, const float* last_used, const std::uint8_t* types,
                               const EdgeCounts* counts, std::size_t n, const EdgeDecay& decay, const Rates& rates,
                               const Prune& prune, std::uint8_t* is_prunable) {
    const F32 now = set(decay.now), since = set(decay.since);
    std::size_t total = 0, i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        total += decay_and_mark<kTypes>(weights + i, last_used + i, types + i, counts + i, now, since, rates, prune,
                                        is_prunable + i);
    }
    if (i == n) return total;
    const std::size_t left = n - i;
    float w[kLanes] = {}, used[kLanes] = {};
    std::uint8_t type[kLanes] = {}, marks[kLanes];
    EdgeCounts few_counts[kLanes] = {};
    for (std::size_t k = 0; k < left; ++k) {
        w[k] = weights[i + k];
        used[k] = last_used[i + k];
        type[k] = types[i + k];
        few_counts[k] = counts[i + k];
    }
    decay_and_mark<kTypes>(w, used, type, few_counts, now, since, rates, prune, marks);
    std::memcpy(weights + i, w, left * sizeof(float));
    std::memcpy(is_prunable + i, marks, left);
    for (std::size_t k = 0; k < left; ++k) total += marks[k];  // the padding does not count
    return total;
}

}  // namespace

void edge_decay(float* weights, const float* last_used, const std::uint8_t* types, std::size_t n,
                const EdgeDecay& decay) {
    Rates rates;
    set_rates(rates, decay);
    if (types == nullptr) {
        decay_all<Types::one>(weights, last_used, types, n, decay, rates);
    } else if (decay.num_types <= kLanes) {
        decay_all<Types::few>(weights, last_used, types, n, decay, rates);
    } else {
        decay_all<Types::many>(weights, last_used, types, n, decay, rates);
    }
}

std::size_t edge_decay_and_mark(float* weights, const float* last_used, const std::uint8_t* types,
                                const EdgeCounts* counts, std::size_t n, const EdgeDecay& decay, float floor,
                                std::uint32_t min_interactions, std::uint8_t* is_prunable) {
    Rates rates;
    set_rates(rates, decay);
    constexpr std::uint32_t kMostInteractions = 2 * 65535;
    const std::uint32_t least = min_interactions > kMostInteractions ? kMostInteractions + 1 : min_interactions;
    const Prune prune{set(floor), set(static_cast<std::int32_t>(least) - 1)};
    const auto run = decay.num_types <= kLanes ? decay_and_mark_all<Types::few> : decay_and_mark_all<Types::many>;
    return run(weights, last_used, types, counts, n, decay, rates, prune, is_prunable);
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
