#include "runtime/session.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace ruvllm::runtime {
namespace {

constexpr std::string_view kMagic = "RUVSESSN";
constexpr std::uint64_t kVersion = 1;

}  // namespace

Session::Session(std::shared_ptr<Model> model, KvType type, std::size_t context_tokens)
    : model_(std::move(model)), type_(type), context_tokens_(context_tokens) {
    const Shape& shape = model_->shape();
    for (std::size_t i = 0; i < shape.num_attention; ++i) caches_.emplace_back(shape.num_kv_heads, shape.head_dim, type);
    convs_.assign(shape.num_conv, std::vector<float>(state_size()));
}

std::size_t Session::bytes() const {
    std::size_t total = tokens_.capacity() * sizeof(std::int32_t) + logits_.capacity() * sizeof(float);
    for (const KvCache& cache : caches_) total += cache.bytes();
    for (const auto& state : convs_) total += state.size() * sizeof(float);
    return total;
}

void Session::cut(std::size_t length) {
    if (length >= tokens_.size()) return;
    if (!forget(tokens_.size() - length)) model_->replay(*this, length);
    tokens_.resize(length);
    logits_.clear();
}

bool Session::forget(std::size_t count) {
    const std::size_t size = count * model_->shape().hidden_size, least = state_size();
    if (!convs_.empty() && convs_[0].size() < least + size) return false;
    for (auto& state : convs_) state.resize(state.size() - size);
    return true;
}

std::size_t Session::state_size() const { return (model_->shape().conv_width - 1) * model_->shape().hidden_size; }

std::unique_ptr<Session> Session::fork(std::size_t length) const {
    auto copy = std::make_unique<Session>(model_, type_, context_tokens_);
    length = std::min(length, tokens_.size());
    for (std::size_t i = 0; i < caches_.size(); ++i) {
        copy->caches_[i].reserve(length, context_tokens_);
        copy->caches_[i].copy_from(caches_[i], length);
    }
    copy->tokens_.assign(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(length));
    copy->convs_ = convs_;
    if (length == tokens_.size()) {
        copy->logits_ = logits_;
    } else if (!copy->forget(tokens_.size() - length)) {
        model_->replay(*copy, length);
    }
    return copy;
}

std::string Session::save() const {
    engines::SnapshotWriter writer(kMagic, kVersion, bytes());
    writer.put(model_->fingerprint());
    writer.put(static_cast<std::uint64_t>(type_));
    writer.put(static_cast<std::uint64_t>(tokens_.size()));
    writer.put(static_cast<std::uint64_t>(logits_.size()));
    writer.put_all(tokens_.data(), tokens_.size());
    writer.put_all(logits_.data(), logits_.size());
    for (const auto& state : convs_) writer.put_all(state.data() + state.size() - state_size(), state_size());
    for (const KvCache& cache : caches_) cache.save(writer, tokens_.size());
    return writer.seal();
}

std::unique_ptr<Session> Session::restore(std::shared_ptr<Model> model, std::string_view bytes,
                                          std::size_t context_tokens) {
    if (model->shape().is_encoder) throw std::invalid_argument("an encoder has no sessions");
    engines::SnapshotReader reader(kMagic, kVersion, bytes);
    if (reader.take<std::uint64_t>() != model->fingerprint()) throw engines::bad_snapshot("be of this model");
    const auto type = reader.take<std::uint64_t>();
    if (type > static_cast<std::uint64_t>(KvType::int8)) throw engines::bad_snapshot("have a known type of keys");
    const std::size_t length = reader.take_count(sizeof(std::int32_t));
    const std::size_t num_logits = reader.take_count(sizeof(float));
    if (length > context_tokens) {
        throw engines::bad_snapshot("fit into context_tokens: " + std::to_string(length) + " tokens");
    }
    if (num_logits != 0 && num_logits != model->shape().vocab_size) throw engines::bad_snapshot("hold whole logits");
    auto session = std::make_unique<Session>(model, static_cast<KvType>(type), context_tokens);
    session->tokens_ = reader.take_column<std::int32_t>(length);
    model->require_ids(session->tokens_.data(), length);
    session->logits_ = reader.take_column<float>(num_logits);
    for (auto& state : session->convs_) state = reader.take_column<float>(session->state_size());
    for (KvCache& cache : session->caches_) {
        cache.reserve(length, context_tokens);
        cache.load(reader, length);
    }
    reader.finish();
    return session;
}

Session::Use::Use(Session& session) : session_(&session) {
    if (session.is_used_.exchange(true, std::memory_order_acquire)) {
        session_ = nullptr;
        throw std::runtime_error("this session is in use by another thread");
    }
}

Session::Use::~Use() {
    if (session_ != nullptr) session_->is_used_.store(false, std::memory_order_release);
}

}  // namespace ruvllm::runtime
