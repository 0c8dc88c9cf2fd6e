// A pass over the weights.
#include "runtime/model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/matmul.hpp"
#include "runtime/session.hpp"

namespace ruvllm::runtime {
namespace {

constexpr std::size_t kMaxRows = 256;        // tokens of one pass: the weights are read once for them
constexpr std::size_t kLogitRows = 32;       // rows of logits at a time
constexpr std::size_t kAttentionRows = 48;   // queries of one block of attention
constexpr std::size_t kSpareTokens = 8;      // that a convolution state can be cut back without a pass

// Attention of n tokens that see each other: scratch.context = softmax(scratch.queries k^T) v, keys and values being
// rows of head_dim entries, `ld` apart.
void attend_rows(const float* keys, const float* values, std::size_t ld, std::size_t n, std::size_t head_dim,
                 AttentionScratch& scratch) {
    kernels::pack(keys, 1, ld, head_dim, n, scratch.keys.data());
    float* scores = scratch.scores.data();
    for (std::size_t first = 0; first < n; first += kAttentionRows) {
        const std::size_t rows = std::min(kAttentionRows, n - first);
        kernels::matmul_packed(scratch.queries.data() + first * head_dim, head_dim, scratch.keys.data(), rows, n,
                               head_dim, false, scores, n);
        kernels::softmax_rows(scores, n, rows, n, scratch.counts.data());
        kernels::matmul(scores, n, values, ld, rows, head_dim, n, false, scratch.context.data() + first * head_dim,
                        head_dim);
    }
}

// Floats of `out` for one token.
std::size_t width_of(Want want, const Shape& shape) {
    switch (want) {
        case Want::hidden: return shape.hidden_size;
        case Want::logprobs: return 1;
        default: return shape.vocab_size;
    }
}

}  // namespace

void Norm::apply(const float* x, std::size_t ldx, std::size_t first, std::size_t end, float* out, std::size_t ldo) const {
    const std::size_t m = end - first;
    x += first * ldx;
    out += first * ldo;
    if (beta.empty()) {
        kernels::rms_norm(x, ldx, m, gamma.size(), gamma.data(), eps, out, ldo);
    } else {
        kernels::layer_norm(x, ldx, m, gamma.size(), gamma.data(), beta.data(), eps, out, ldo);
    }
}

void Model::require_ids(const std::int32_t* ids, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
        if (ids[i] >= 0 && static_cast<std::size_t>(ids[i]) < shape_.vocab_size) continue;
        throw std::invalid_argument("ids[" + std::to_string(i) + "] must be in [0, " + std::to_string(shape_.vocab_size) +
                                ") (" + std::to_string(ids[i]) + ")");
    }
}

void Model::require_rotations(std::size_t positions) {
    const std::size_t half = frequencies_.size();
    if (shape_.is_encoder || half == 0) return;
    cosines_.reserve(positions * half);  // first, so that neither table can get ahead of the other
    sines_.reserve(positions * half);
    for (std::size_t position = cosines_.size() / half; position < positions; ++position) {
        for (const float frequency : frequencies_) {
            const double angle = static_cast<float>(position) * frequency;  // float32, as the models were trained
            cosines_.push_back(static_cast<float>(std::cos(angle)));
            sines_.push_back(static_cast<float>(std::sin(angle)));
        }
    }
}

void Model::embed(const std::vector<Stretch>& stretches, const std::int32_t* ids, std::size_t m) {
    const std::size_t h = shape_.hidden_size;
    pool_.split(m, [&](std::size_t first, std::size_t end) {
        for (std::size_t i = first; i < end; ++i) {
            const auto id = static_cast<std::size_t>(ids[i]);
            if (is_tied_) {
                head_.read_row(id, x_.data() + i * h);
            } else {
                words_.read_row(id, x_.data() + i * h);
            }
        }
    });
    if (!shape_.is_encoder) return;
    for (const Stretch& stretch : stretches) {
        for (std::size_t i = 0; i < stretch.count; ++i) {
            float* row = x_.data() + (stretch.first + i) * h;
            const float* position = positions_.data() + (stretch.position + i) * h;
            for (std::size_t j = 0; j < h; ++j) row[j] += position[j] + token_type_[j];
        }
    }
}

// in_ = norm(x), and in an encoder x too.
void Model::normalise(const Norm& norm, std::size_t m, const Linear& into) {
    const std::size_t h = shape_.hidden_size;
    in_.reserve(m, h, into.is_quantized());
    pool_.split(m, [&](std::size_t first, std::size_t end) {
        norm.apply(x_.data(), h, first, end, in_.row(0), h);
        if (shape_.is_encoder) std::copy(in_.row(first), in_.row(end), x_.data() + first * h);
        in_.finish(first, end);
    });
}

void Model::attend(const Layer& layer, const std::vector<Stretch>& stretches, bool writes) {
    const std::size_t d = shape_.head_dim, heads = shape_.num_heads, kv_heads = shape_.num_kv_heads;
    const std::size_t per_kv = heads / kv_heads, ld = (heads + 2 * kv_heads) * d;
    const std::size_t m = stretches.back().first + stretches.back().count;
    const Attention& attention = layer.attention;
    attention.qkv.apply(in_, m, false, projected_.data(), ld, pool_);

    if (!shape_.is_encoder) {
        const auto rotate = [&](const Stretch& stretch, std::size_t i) {
            float* row = projected_.data() + (stretch.first + i) * ld;
            const float eps = layer.mixer_norm.eps;
            const auto normalise_heads = [&](float* x, std::size_t num_heads, const std::vector<float>& gamma) {
                if (!gamma.empty()) kernels::rms_norm(x, d, num_heads, d, gamma.data(), eps, x, d);
            };
            normalise_heads(row, heads, attention.q_norm);
            normalise_heads(row + heads * d, kv_heads, attention.k_norm);
            const std::size_t at = (stretch.position + i) * frequencies_.size();
            kernels::rotate_halves(row, heads + kv_heads, d, cosines_.data() + at, sines_.data() + at);
        };
        for (const Stretch& stretch : stretches) {
            pool_.split(stretch.count, [&](std::size_t first, std::size_t end) {
                for (std::size_t i = first; i < end; ++i) rotate(stretch, i);
            });
        }
    }
    if (writes) {
        const auto store = [&](const Stretch& stretch, std::size_t head) {
            for (std::size_t i = 0; i < stretch.count; ++i) {
                const float* key = projected_.data() + (stretch.first + i) * ld + (heads + head) * d;
                stretch.session->caches_[layer.state].write(head, stretch.position + i, key, key + kv_heads * d);
            }
        };
        if (m == stretches.size()) {  // a token each: not worth waking anyone
            for (const Stretch& stretch : stretches) {
                for (std::size_t head = 0; head < kv_heads; ++head) store(stretch, head);
            }
        } else {
            pool_.each(stretches.size() * kv_heads, [&](std::size_t task, std::size_t) {
                store(stretches[task / kv_heads], task % kv_heads);
            });
        }
    }

    // blocks of queries: those of `per_kv` heads, which share keys and values, on some tokens
    struct Block {
        const Stretch* stretch;
        std::size_t head, first, count;
    };
    std::vector<Block> blocks;
    const std::size_t step = std::max<std::size_t>(1, kAttentionRows / per_kv);
    for (const Stretch& stretch : stretches) {
        for (std::size_t head = 0; head < kv_heads; ++head) {
            if (stretch.session == nullptr) {  // keys are packed for the whole block
                blocks.push_back({&stretch, head, 0, stretch.count});
                continue;
            }
            for (std::size_t first = 0; first < stretch.count; first += step) {
                blocks.push_back({&stretch, head, first, std::min(step, stretch.count - first)});
            }
        }
    }
    mixed_.reserve(m, heads * d, attention.out.is_quantized());
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    pool_.each(blocks.size(), [&](std::size_t task, std::size_t thread) {
        const Block& block = blocks[task];
        const Stretch& stretch = *block.stretch;
        AttentionScratch& scratch = attention_[thread];
        const std::size_t rows = block.count * per_kv;
        float* queries = scratch.queries.data();
        for (std::size_t i = 0; i < block.count; ++i) {
            const float* from = projected_.data() + (stretch.first + block.first + i) * ld + block.head * per_kv * d;
            for (std::size_t j = 0; j < per_kv * d; ++j) queries[i * per_kv * d + j] = from[j] * scale;
        }
        float* context = scratch.context.data();
        std::size_t* counts = scratch.counts.data();
        if (stretch.session == nullptr) {
            std::fill_n(counts, std::min(rows, kAttentionRows), stretch.count);
            const float* keys = projected_.data() + stretch.first * ld + (heads + block.head) * d;
            attend_rows(keys, keys + kv_heads * d, ld, stretch.count, d, scratch);
        } else {
            for (std::size_t i = 0; i < rows; ++i) counts[i] = stretch.position + block.first + i / per_kv + 1;
            stretch.session->caches_[layer.state].attend(block.head, queries, rows, counts, counts[rows - 1], scratch,
                                                          context);
        }
        for (std::size_t i = 0; i < block.count; ++i) {
            float* to = mixed_.row(stretch.first + block.first + i) + block.head * per_kv * d;
            std::copy_n(context + i * per_kv * d, per_kv * d, to);
        }
    });
    pool_.split(m, [&](std::size_t first, std::size_t end) { mixed_.finish(first, end); });
    attention.out.apply(mixed_, m, true, x_.data(), shape_.hidden_size, pool_);
}

void Model::convolve(const Layer& layer, const std::vector<Stretch>& stretches, std::size_t m) {
    const std::size_t h = shape_.hidden_size, width = shape_.conv_width, before = width - 1;
    const ShortConv& conv = layer.conv;
    conv.in.apply(in_, m, false, projected_.data(), 3 * h, pool_);
    mixed_.reserve(m, h, conv.out.is_quantized());
    const float* bias = conv.bias.empty() ? nullptr : conv.bias.data();
    for (const Stretch& stretch : stretches) {
        std::vector<float>& state = stretch.session->convs_[layer.state];
        const std::size_t known = state.size() / h, spare = known - before;
        // u of a token, counted from the oldest one in the state
        const auto read_u = [&](std::size_t at, float* to) {
            if (at < known) {
                std::copy_n(state.data() + at * h, h, to);
                return;
            }
            const float* b = projected_.data() + (stretch.first + at - known) * 3 * h;
            for (std::size_t i = 0; i < h; ++i) to[i] = b[i] * b[2 * h + i];
        };
        pool_.split(stretch.count, [&](std::size_t first, std::size_t end, std::size_t thread) {
            float* history = history_.data() + (first + thread * before) * h;  // `before` rows, then those of this part
            for (std::size_t j = 0; j < before; ++j) read_u(spare + first + j, history + j * h);
            const std::size_t row = stretch.first + first;
            kernels::short_conv(projected_.data() + row * 3 * h, 3 * h, end - first, h, conv.taps.data(), width, bias,
                                history, mixed_.row(row), h);
            mixed_.finish(row, stretch.first + end);
        });
        const std::size_t kept = std::min(spare + stretch.count, kSpareTokens) + before;
        std::vector<float> after(kept * h);
        for (std::size_t j = 0; j < kept; ++j) read_u(known + stretch.count - kept + j, after.data() + j * h);
        state = std::move(after);
    }
    conv.out.apply(mixed_, m, true, x_.data(), h, pool_);
}

void Model::feed_forward(const Layer& layer, std::size_t m) {
    const Ffn& ffn = layer.ffn;
    const std::size_t f = ffn.up.num_rows();
    between_.reserve(m, f, ffn.down.is_quantized());
    pool_.share(ffn.up.num_units(), ffn.up.step(), [&](std::size_t first, std::size_t end) {
        const std::size_t row = first * ffn.up.unit(), rows = std::min(end * ffn.up.unit(), f) - row;
        float* out = between_.row(0);
        if (!ffn.has_gate) {
            ffn.up.apply_units(in_, m, first, end, false, out, f);
            kernels::activate(ffn.activation, out + row, f, m, rows);
            return;
        }
        ffn.gate.apply_units(in_, m, first, end, false, out, f);
        ffn.up.apply_units(in_, m, first, end, false, up_.data(), f);
        kernels::silu_multiply(out + row, up_.data() + row, f, m, rows);
    });
    pool_.split(m, [&](std::size_t first, std::size_t end) { between_.finish(first, end); });
    ffn.down.apply(between_, m, true, x_.data(), shape_.hidden_size, pool_);
}

void Model::run(const std::vector<Stretch>& stretches, const std::int32_t* ids, const std::vector<std::size_t>& wanted,
                bool writes) {
    const std::size_t h = shape_.hidden_size;
    std::size_t m = stretches.back().first + stretches.back().count;
    embed(stretches, ids, m);
    if (shape_.is_encoder) normalise(embedding_norm_, m, layers_[0].attention.qkv);
    for (const Layer& layer : layers_) {
        if (!shape_.is_encoder) normalise(layer.mixer_norm, m, layer.is_conv ? layer.conv.in : layer.attention.qkv);
        if (layer.is_conv) {
            convolve(layer, stretches, m);
        } else {
            attend(layer, stretches, writes);
        }
        if (&layer == &layers_.back() && wanted.size() < m) {  // nothing but the wanted rows matters from here on
            m = wanted.size();
            for (std::size_t i = 0; i < m; ++i) std::copy_n(x_.data() + wanted[i] * h, h, x_.data() + i * h);
            if (m == 0) return;
        }
        normalise(shape_.is_encoder ? layer.mixer_norm : layer.ffn_norm, m, layer.ffn.up);
        feed_forward(layer, m);
        const Layer& next = &layer == &layers_.back() ? layer : *(&layer + 1);
        if (shape_.is_encoder) normalise(layer.ffn_norm, m, next.attention.qkv);
    }
    if (shape_.is_encoder) return;
    pool_.split(m, [&](std::size_t first, std::size_t end) { output_norm_.apply(x_.data(), h, first, end, x_.data(), h); });
}

void Model::head(std::size_t first, std::size_t m, float* logits) {
    const std::size_t h = shape_.hidden_size;
    in_.reserve(m, h, head_.is_quantized());
    std::copy_n(x_.data() + first * h, m * h, in_.row(0));
    in_.finish(0, m);
    head_.apply(in_, m, false, logits, shape_.vocab_size, pool_);
}

void Model::reserve(std::size_t m, std::size_t positions) {
    const std::size_t d = shape_.head_dim, per_kv = shape_.num_heads / shape_.num_kv_heads;
    const std::size_t qkv = shape_.num_attention == 0 ? 0 : (shape_.num_heads + 2 * shape_.num_kv_heads) * d;
    x_.reserve(m * shape_.hidden_size);
    projected_.reserve(m * std::max(qkv, shape_.num_conv > 0 ? 3 * shape_.hidden_size : 0));
    up_.reserve(m * shape_.ffn_size);
    if (shape_.num_conv > 0) {
        history_.reserve((m + pool_.size() * shape_.conv_width) * shape_.hidden_size);
    }
    if (!shape_.is_encoder) logits_.reserve(std::min(m, kLogitRows) * shape_.vocab_size);
    const std::size_t tokens = std::max<std::size_t>(1, kAttentionRows / per_kv);
    for (AttentionScratch& scratch : attention_) {
        if (qkv == 0) break;
        if (shape_.is_encoder) {
            scratch.reserve(std::min(m, kAttentionRows), m, d);
            scratch.queries.reserve(m * d);
            scratch.context.reserve(m * d);
            scratch.keys.reserve(kernels::packed_size(d, m));
        } else {
            scratch.reserve(tokens * per_kv, positions, d);
        }
    }
    require_rotations(positions);
}

// What is wanted of a pass whose final hidden states, of the rows `wanted`, are rows of x_.
void Model::finish(const std::vector<Stretch>& stretches, const std::vector<std::int32_t>& ids, Want want,
                   const std::vector<std::size_t>& wanted, float* out) {
    const std::size_t v = shape_.vocab_size, h = shape_.hidden_size;
    if (want == Want::hidden) {
        std::copy_n(x_.data(), wanted.size() * h, out);
        for (const Stretch& stretch : stretches) stretch.session->logits_.clear();
        return;
    }
    if (want == Want::logprobs) {
        for (const Stretch& stretch : stretches) {
            const std::vector<float>& before = stretch.session->logits_;
            out[stretch.first] = before.empty() ? std::numeric_limits<float>::quiet_NaN()
                                                : before[static_cast<std::size_t>(ids[stretch.first])] -
                                                      kernels::log_sum_exp(before.data(), v);
        }
    }
    auto stretch = stretches.begin();
    for (std::size_t first = 0; first < wanted.size(); first += kLogitRows) {
        const std::size_t rows = std::min(kLogitRows, wanted.size() - first);
        float* logits = want == Want::logits && out != nullptr ? out + first * v : logits_.data();
        head(first, rows, logits);
        for (std::size_t i = 0; i < rows; ++i) {
            const float* row = logits + i * v;
            const std::size_t token = wanted[first + i];
            while (token >= stretch->first + stretch->count) ++stretch;
            if (token + 1 == stretch->first + stretch->count) {
                stretch->session->logits_.assign(row, row + v);
            } else if (want == Want::logprobs) {
                out[token + 1] = row[static_cast<std::size_t>(ids[token + 1])] - kernels::log_sum_exp(row, v);
            }
        }
    }
}

void Model::advance(const std::vector<Segment>& segments, Want want, float* out) {
    struct Before {
        std::vector<std::vector<float>> convs;
        std::size_t length;
    };
    std::vector<Before> before;
    for (const Segment& segment : segments) {
        Session& session = *segment.session;
        const std::size_t length = session.tokens_.size();
        for (KvCache& cache : session.caches_) cache.reserve(length + segment.count, session.context_tokens_);
        session.tokens_.reserve(length + segment.count);
        before.push_back({session.convs_, length});
    }

    std::vector<std::int32_t> ids;
    std::vector<Stretch> stretches;
    const auto pass = [&] {  // others may have theirs between two of these
        const std::lock_guard lock(mutex_);
        std::vector<std::size_t> wanted;
        std::size_t positions = 0;
        for (const Stretch& stretch : stretches) {
            positions = std::max(positions, stretch.position + stretch.count);
            for (std::size_t i = stretch.count - stretch.tail; i < stretch.count; ++i) wanted.push_back(stretch.first + i);
        }
        reserve(ids.size(), positions);
        run(stretches, ids.data(), wanted, true);
        finish(stretches, ids, want, wanted, out);
        if (out != nullptr) out += wanted.size() * width_of(want, shape_);
        for (const Stretch& stretch : stretches) {
            const auto from = ids.begin() + static_cast<std::ptrdiff_t>(stretch.first);
            auto& tokens = stretch.session->tokens_;
            tokens.insert(tokens.end(), from, from + static_cast<std::ptrdiff_t>(stretch.count));
        }
        ids.clear();
        stretches.clear();
    };
    try {
        for (const Segment& segment : segments) {
            for (std::size_t at = 0, count = 0; at < segment.count; at += count) {
                count = std::min(segment.count - at, kMaxRows - ids.size());
                const std::size_t left = segment.count - at - count;  // of the segment, behind this stretch
                const std::size_t tail = segment.tail > left ? std::min(segment.tail - left, count) : 0;
                stretches.push_back({segment.session, ids.size(), count, segment.session->tokens_.size(),
                                     want == Want::logits ? tail : count});
                ids.insert(ids.end(), segment.ids + at, segment.ids + at + count);
                if (ids.size() == kMaxRows) pass();
            }
        }
        if (!ids.empty()) pass();
    } catch (...) {
        for (std::size_t i = 0; i < segments.size(); ++i) {
            segments[i].session->convs_ = before[i].convs;
            segments[i].session->tokens_.resize(before[i].length);
            segments[i].session->logits_.clear();
        }
        throw;
    }
}

void Model::replay(Session& session, std::size_t position) {
    const std::lock_guard lock(mutex_);
    const std::size_t reach = (shape_.conv_width - 1) * shape_.num_conv;  // tokens a state can still remember
    const std::size_t first = position - std::min(position, reach);
    reserve(std::min(position - first, kMaxRows), position);
    const auto before = session.convs_;
    try {
        const std::size_t size = (shape_.conv_width - 1) * shape_.hidden_size;
        for (std::vector<float>& state : session.convs_) state.assign(size, 0.0f);
        for (std::size_t at = first; at < position;) {
            const std::size_t count = std::min(position - at, kMaxRows);
            run({{&session, 0, count, at}}, session.tokens_.data() + at, {}, false);
            at += count;
        }
        for (std::vector<float>& state : session.convs_) {  // older ones knew too little of what was before them
            state.erase(state.begin(), state.end() - static_cast<std::ptrdiff_t>(size));
        }
    } catch (...) {
        session.convs_ = before;
        throw;
    }
}

void Model::encode(const std::int32_t* ids, const std::size_t* lengths, std::size_t count, float* out) {
    const std::lock_guard lock(mutex_);
    const std::size_t h = shape_.hidden_size;
    for (std::size_t first = 0; first < count;) {
        std::vector<Stretch> stretches;
        std::size_t m = 0, end = first;
        for (; end < count && (m == 0 || m + lengths[end] <= kMaxRows); ++end) {
            stretches.push_back({nullptr, m, lengths[end], 0});
            m += lengths[end];
        }
        reserve(m, 0);
        std::vector<std::size_t> wanted(m);
        for (std::size_t i = 0; i < m; ++i) wanted[i] = i;
        run(stretches, ids, wanted, false);
        for (const Stretch& stretch : stretches) {
            std::fill_n(out, h, 0.0f);
            for (std::size_t i = 0; i < stretch.count; ++i) {
                const float* row = x_.data() + (stretch.first + i) * h;
                for (std::size_t j = 0; j < h; ++j) out[j] += row[j];
            }
            for (std::size_t j = 0; j < h; ++j) out[j] /= static_cast<float>(stretch.count);
            out += h;
        }
        ids += m;
        first = end;
    }
}

}  // namespace ruvllm::runtime
