#include "engines/reservoir.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace ruvllm::engines {

Reservoir::Reservoir(std::size_t capacity, bool is_weighted, std::uint64_t seed)
    : capacity_(capacity), is_weighted_(is_weighted), random_(seed) {}

std::int64_t Reservoir::add(std::int64_t label, double weight) {
    return place(strata_[find_or_add(label)], weight);
}

Reservoir::Batch Reservoir::add_many(std::size_t n, const std::int64_t* labels, const double* weights) {
    const std::size_t num_strata = strata_.size();
    std::vector<std::size_t> stratum(labels ? n : 0);
    try {
        for (std::size_t i = 0; i < stratum.size(); ++i) stratum[i] = find_or_add(labels[i]);
        if (!labels && n > 0) find_or_add(0);
    } catch (...) {
        drop_strata(num_strata);
        throw;
    }
    Batch batch;
    const std::uint64_t start = num_seen_;
    for (std::size_t i = 0; i < n; ++i) {
        Stratum& s = strata_[labels ? stratum[i] : last_stratum_];
        if (!labels && !weights) i += pass_over(s, n - i);
        if (i == n) break;
        const std::int64_t slot = place(s, weights ? weights[i] : 1.0);
        if (slot == kNone) continue;
        batch.kept.push_back(static_cast<std::int64_t>(i));
        batch.slots.push_back(slot);
    }
    std::size_t left = 0;  // those that nothing later in the batch replaced
    for (std::size_t j = 0; j < batch.kept.size(); ++j) {
        const auto item = static_cast<std::int64_t>(start) + batch.kept[j];
        if (items_[static_cast<std::size_t>(batch.slots[j])] != item) continue;
        batch.kept[left] = batch.kept[j];
        batch.slots[left++] = batch.slots[j];
    }
    batch.kept.resize(left);
    batch.slots.resize(left);
    return batch;
}

std::vector<std::pair<std::int64_t, std::size_t>> Reservoir::classes() const {
    std::vector<std::pair<std::int64_t, std::size_t>> all;
    for (const Stratum& s : strata_) all.emplace_back(s.label, s.size());
    return all;
}

std::size_t Reservoir::find_or_add(std::int64_t label) {
    if (last_stratum_ < strata_.size() && strata_[last_stratum_].label == label) return last_stratum_;
    const auto [at, is_new] = stratum_of_.try_emplace(label, strata_.size());
    if (is_new) {
        if (strata_.size() == capacity_) {
            stratum_of_.erase(at);
            throw std::invalid_argument("label must be one of at most " + std::to_string(capacity_) +
                                        " classes, the capacity (" + std::to_string(label) + " is one more)");
        }
        strata_.push_back(Stratum{.label = label, .slots = {}, .heap = {}});
    }
    return last_stratum_ = at->second;
}

void Reservoir::drop_strata(std::size_t first) {
    for (; strata_.size() > first; strata_.pop_back()) stratum_of_.erase(strata_.back().label);
}

Reservoir::Stratum& Reservoir::largest() {
    return *std::max_element(strata_.begin(), strata_.end(),
                             [](const Stratum& a, const Stratum& b) { return a.size() < b.size(); });
}

std::int64_t Reservoir::place(Stratum& s, double weight) {
    const auto item = static_cast<std::int64_t>(num_seen_++);
    if (items_.size() < capacity_) {
        items_.push_back(item);
        hold(s, static_cast<std::uint32_t>(items_.size() - 1), weight);
        return static_cast<std::int64_t>(items_.size() - 1);
    }
    std::uint32_t slot;
    if (Stratum* giver = nullptr; !s.is_sampled && s.size() + 1 < (giver = &largest())->size()) {
        slot = give_up_slot(*giver);
        hold(s, slot, weight);
    } else {
        if (!s.is_sampled) start_sampling(s);
        if (is_passed_over(s, weight)) return kNone;
        slot = replace(s, weight);
    }
    items_[slot] = item;
    return slot;
}

// Counts items of weight 1 that a stratum is about to pass over, at most `limit`; returns how many. The differences are
// exact, so this is what passing over them one by one gives.
std::uint64_t Reservoir::pass_over(Stratum& s, std::uint64_t limit) {
    if (!s.is_sampled) return 0;
    // The one that brings a weight down to 0 is kept.
    const double most = is_weighted_ ? std::max(std::ceil(s.skip) - 1.0, 0.0) : s.skip;
    const auto count = static_cast<std::uint64_t>(std::min(most, static_cast<double>(limit)));
    s.skip -= static_cast<double>(count);
    num_seen_ += count;
    return count;
}

void Reservoir::hold(Stratum& s, std::uint32_t slot, double weight) {
    if (!is_weighted_) {
        s.slots.push_back(slot);
        return;
    }
    s.heap.push_back({std::log(random_.uniform()) / weight, slot});
    std::push_heap(s.heap.begin(), s.heap.end(), Keyed::has_larger_key);
}

// From here on the stratum no longer holds all it has seen.
void Reservoir::start_sampling(Stratum& s) {
    s.is_sampled = true;
    if (!is_weighted_) s.log_w = std::log(random_.uniform()) / static_cast<double>(s.size());
    draw_skip(s);
}

void Reservoir::draw_skip(Stratum& s) {
    const double log_u = std::log(random_.uniform());
    if (is_weighted_) {
        s.skip = log_u / s.heap.front().key;
    } else {
        s.skip = std::floor(log_u / std::log1p(-std::exp(s.log_w)));  // infinite once w is too small for a double
    }
}

bool Reservoir::is_passed_over(Stratum& s, double weight) const {
    if (!is_weighted_ && s.skip < 1.0) return false;
    s.skip -= weight;
    return !is_weighted_ || s.skip > 0.0;
}

// The slot of the item that leaves for a new one.
std::uint32_t Reservoir::replace(Stratum& s, double weight) {
    std::uint32_t slot;
    if (is_weighted_) {
        // The new key is above the least one: u is uniform in (e^(key weight), 1), here 1 - u for its precision near 1.
        const double rest = -std::expm1(s.heap.front().key * weight) * random_.uniform();
        std::pop_heap(s.heap.begin(), s.heap.end(), Keyed::has_larger_key);
        s.heap.back().key = std::log1p(-rest) / weight;
        slot = s.heap.back().slot;
        std::push_heap(s.heap.begin(), s.heap.end(), Keyed::has_larger_key);
    } else {
        slot = s.slots[random_.below(static_cast<std::uint32_t>(s.slots.size()))];
        s.log_w += std::log(random_.uniform()) / static_cast<double>(s.slots.size());
    }
    draw_skip(s);
    return slot;
}

// A slot of a stratum of two or more, for another one. The item with the least key goes. Algorithm L has uniform keys of
// which it keeps the least, and w is the largest of those: any item may have it, and w moves to the next one below.
std::uint32_t Reservoir::give_up_slot(Stratum& s) {
    if (!s.is_sampled) start_sampling(s);
    std::uint32_t slot;
    if (is_weighted_) {
        std::pop_heap(s.heap.begin(), s.heap.end(), Keyed::has_larger_key);
        slot = s.heap.back().slot;
        s.heap.pop_back();
    } else {
        std::uint32_t& given = s.slots[random_.below(static_cast<std::uint32_t>(s.slots.size()))];
        slot = given;
        given = s.slots.back();
        s.slots.pop_back();
        s.log_w += std::log(random_.uniform()) / static_cast<double>(s.slots.size());
    }
    draw_skip(s);
    return slot;
}

}  // namespace ruvllm::engines
