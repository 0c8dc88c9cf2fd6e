#include "runtime/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "kernels/transformer.hpp"

namespace ruvllm::runtime {
namespace {

constexpr float kGreedyBelow = 1e-4f;      // a temperature that leaves float32 no choice
constexpr std::size_t kFirstCut = 256;     // most likely tokens that top_p looks at first

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
    const std::size_t n = logits_.size();
    const auto logit = [&](std::int32_t id) { return logits_[static_cast<std::size_t>(id)]; };
    const auto is_likelier = [&](std::int32_t a, std::int32_t b) {
        return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
    };
    candidates_.resize(n);
    std::iota(candidates_.begin(), candidates_.end(), 0);
    // the `count` likeliest first, in order; the rest behind them
    const auto sort_first = [&](std::size_t count) {
        const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
        if (count < candidates_.size()) std::nth_element(candidates_.begin(), end, candidates_.end(), is_likelier);
        std::sort(candidates_.begin(), end, is_likelier);
    };
    std::size_t sorted = 0;
    if (options_.top_k > 0 && options_.top_k < n) {
        sorted = options_.top_k;
        sort_first(sorted);
        candidates_.resize(sorted);
    }
    const auto weight = [&](std::int32_t id) {
        return std::exp((static_cast<double>(logit(id)) - most) / options_.temperature);
    };
    const auto weight_of_all = [&] {
        double sum = 0.0;
        for (const std::int32_t id : candidates_) sum += weight(id);
        return sum;
    };
    if (options_.top_p < 1.0f) {
        const double wanted = options_.top_p * weight_of_all();
        double reached = 0.0;
        std::size_t kept = 0;
        while (kept == 0 || (reached < wanted && kept < candidates_.size())) {
            if (kept == sorted) {
                sorted = std::min(candidates_.size(), std::max(kFirstCut, 4 * sorted));
                sort_first(sorted);
            }
            reached += weight(candidates_[kept++]);
        }
        candidates_.resize(kept);
    }
    if (options_.min_p > 0.0f) {
        const auto is_unlikely = [&](std::int32_t id) { return weight(id) < options_.min_p; };
        candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), is_unlikely), candidates_.end());
    }
    double left = random_.uniform() * weight_of_all();
    for (const std::int32_t id : candidates_) {
        left -= weight(id);
        if (left < 0.0) return id;
    }
    return candidates_.back();  // rounding
}

}  // namespace ruvllm::runtime
