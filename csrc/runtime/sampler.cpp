#include "runtime/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/transformer.hpp"

namespace ruvllm::runtime {
namespace {

constexpr float kGreedyBelow = 1e-4f;      // a temperature that leaves float32 no choice

// In double, in four parts: the order is the same everywhere.
double sum_of(const std::vector<float>& values) {
    double parts[4] = {};
    for (std::size_t i = 0; i < values.size(); ++i) parts[i % 4] += values[i];
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options, std::uint64_t seed, std::size_t limit)
    : options_(options), limit_(limit), random_(seed) {}

Sample Sampler::next(const float* logits, std::size_t size, const std::int32_t* seen, std::size_t num_seen,
                     const std::uint8_t* allowed, const float* bias) {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    const std::size_t n = std::min(size, limit_);
    logits_.assign(logits, logits + n);
    if (bias != nullptr) {
        for (std::size_t i = 0; i < n; ++i) logits_[i] += bias[i];
    }
    if (options_.repetition_penalty != 1.0f) {
        is_penalised_.assign(n, 0);
        for (std::size_t i = 0; i < num_seen; ++i) {
            const auto id = static_cast<std::size_t>(seen[i]);  // a negative one becomes large
            if (id >= n || is_penalised_[id]) continue;
            is_penalised_[id] = 1;
            float& logit = logits_[id];
            logit = logit > 0.0f ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
        }
    }
    if (allowed != nullptr) {
        for (std::size_t i = 0; i < n; ++i) logits_[i] = allowed[i] ? logits_[i] : kNever;
    }
    bool are_good = true;
    for (const float logit : logits_) are_good &= logit < std::numeric_limits<float>::infinity();
    if (!are_good) throw std::invalid_argument("logits must not hold a NaN or +infinity");
    const std::size_t likeliest = kernels::argmax(logits_.data(), n);
    if (logits_[likeliest] == kNever) throw std::invalid_argument("allowed must leave a token");
    const float total = kernels::log_sum_exp(logits_.data(), n);
    const std::int32_t id = options_.temperature < kGreedyBelow
                                ? static_cast<std::int32_t>(likeliest)
                                : draw(logits_[likeliest]);
    return {id, logits_[static_cast<std::size_t>(id)] - total};
}

std::int32_t Sampler::draw(float most) {
    weights_.resize(logits_.size());
    kernels::exp_weights(logits_.data(), logits_.size(), most, options_.temperature, weights_.data());
    const bool cuts_k = options_.top_k > 0 && options_.top_k < logits_.size();
    if (cuts_k || options_.top_p < 1.0f) return draw_among_likely(most, cuts_k);
    if (options_.min_p > 0.0f) {
        for (float& weight : weights_) weight = weight < options_.min_p ? 0.0f : weight;
    }
    double left = random_.uniform() * sum_of(weights_);
    std::size_t last = 0;
    for (std::size_t id = 0; id < weights_.size(); ++id) {
        if (weights_[id] == 0.0f) continue;
        left -= weights_[id];
        last = id;
        if (left < 0.0) break;
    }
    return static_cast<std::int32_t>(last);
}

std::int32_t Sampler::draw_among_likely(float most, bool cuts_k) {
    const auto weight = [&](std::int32_t id) { return weights_[static_cast<std::size_t>(id)]; };
    const auto is_likelier = [&](std::int32_t a, std::int32_t b) {
        const float x = logits_[static_cast<std::size_t>(a)], y = logits_[static_cast<std::size_t>(b)];
        return x != y ? x > y : a < b;
    };
    const std::size_t n = logits_.size(), top_k = cuts_k ? options_.top_k : n;
    const double wanted_of_all = options_.top_p * sum_of(weights_);
    // all tokens within a distance of the likeliest, which grows until what is wanted must be among them
    for (float distance = 4.0f * options_.temperature;; distance *= 4.0f) {
        candidates_.clear();
        double reached = 0.0;
        for (std::size_t id = 0; id < n; ++id) {
            if (logits_[id] < most - distance) continue;
            candidates_.push_back(static_cast<std::int32_t>(id));
            reached += weights_[id];
        }
        const bool has_top_k = candidates_.size() >= top_k;
        if (has_top_k || (!cuts_k && reached >= wanted_of_all) || std::isinf(distance)) break;
    }
    std::sort(candidates_.begin(), candidates_.end(), is_likelier);
    candidates_.resize(std::min(candidates_.size(), top_k));
    const auto weight_of_candidates = [&] {
        double sum = 0.0;
        for (const std::int32_t id : candidates_) sum += weight(id);
        return sum;
    };
    const double wanted = cuts_k ? options_.top_p * weight_of_candidates() : wanted_of_all;
    double reached = 0.0;
    std::size_t kept = 0;
    while (kept < candidates_.size() && (kept == 0 || reached < wanted)) reached += weight(candidates_[kept++]);
    candidates_.resize(options_.top_p < 1.0f ? kept : candidates_.size());
    const auto is_unlikely = [&](std::int32_t id) { return weight(id) < options_.min_p || weight(id) == 0.0f; };
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), is_unlikely), candidates_.end());
    double left = random_.uniform() * weight_of_candidates();
    for (const std::int32_t id : candidates_) {
        left -= weight(id);
        if (left < 0.0) return id;
    }
    return candidates_.back();  // rounding
}

}  // namespace ruvllm::runtime
