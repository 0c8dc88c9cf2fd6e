// The next token from logits. In the order of transformers: bias and mask, repetition penalty, temperature, top_k,
// top_p, min_p, draw.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/random.hpp"

namespace ruvllm::runtime {

struct SamplingOptions {
    float temperature = 1.0f;         // 0: the most likely token
    std::size_t top_k = 0;            // 0: all; of equals the lower ids
    float top_p = 1.0f;               // of what top_k left: the fewest likely tokens that together reach this
    float min_p = 0.0f;               // of what top_p left: at least this share of the most likely one's probability
    float repetition_penalty = 1.0f;  // > 0
};

struct Sample {
    std::int32_t id;
    float logprob;  // of the id after bias, mask and penalty, before temperature and the cuts
};

class Sampler {
  public:
    // Ids from `limit` on, rows of the head without a token, are never drawn.
    Sampler(const SamplingOptions& options, std::uint64_t seed, std::size_t limit);

    // Throws std::invalid_argument: no id is left, or a logit is NaN or +infinity.
    //   logits   (size,)
    //   seen     (num_seen,) ids that count as repeated; those out of range are ignored
    //   allowed  (size,) 0 or 1, or null: all
    //   bias     (size,) or null
    Sample next(const float* logits, std::size_t size, const std::int32_t* seen, std::size_t num_seen,
                const std::uint8_t* allowed, const float* bias);

  private:
    std::int32_t draw(float most);  // `most`: the largest logit
    std::int32_t draw_among_likely(float most, bool cuts_k);  // top_k or top_p leave some out; `cuts_k`: top_k does

    SamplingOptions options_;
    std::size_t limit_;
    engines::Random random_;
    std::vector<float> logits_, weights_;
    std::vector<std::uint8_t> is_penalised_;
    std::vector<std::int32_t> candidates_;
};

}  // namespace ruvllm::runtime
