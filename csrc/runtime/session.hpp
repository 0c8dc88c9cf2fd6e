// What one conversation carries: its tokens, keys and values, convolution states, and the logits after the last token.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/kv_cache.hpp"
#include "runtime/model.hpp"

namespace ruvllm::runtime {

// One user at a time: `Use` refuses a second one.
class Session {
  public:
    Session(std::shared_ptr<Model> model, KvType type, std::size_t context_tokens);

    Model& model() const { return *model_; }
    KvType kv_type() const { return type_; }
    std::size_t context_tokens() const { return context_tokens_; }
    const std::vector<std::int32_t>& tokens() const { return tokens_; }
    const std::vector<float>& logits() const { return logits_; }  // (vocab_size,), or empty: see has_logits
    bool has_logits() const { return !logits_.empty(); }
    std::size_t bytes() const;

    // Forgets all but the first `length` tokens, exactly: what follows is as if the others had never been.
    void cut(std::size_t length);
    // Another session that stands where this one stood after its first `length` tokens.
    std::unique_ptr<Session> fork(std::size_t length) const;

    std::string save() const;
    // Throws std::invalid_argument: damaged, or of another model.
    static std::unique_ptr<Session> restore(std::shared_ptr<Model> model, std::string_view bytes,
                                            std::size_t context_tokens);

    // Marks the session as used for its lifetime; throws std::runtime_error when it is already.
    class Use {
      public:
        explicit Use(Session& session);
        Use(Use&& other) noexcept : session_(other.session_) { other.session_ = nullptr; }
        Use(const Use&) = delete;
        ~Use();

      private:
        Session* session_;
    };

  private:
    friend class Model;

    // Takes the last `count` tokens out of the convolution states, if they reach back so far.
    bool forget(std::size_t count);
    std::size_t state_size() const;  // the least of a convolution state

    std::shared_ptr<Model> model_;
    KvType type_;
    std::size_t context_tokens_;
    std::vector<std::int32_t> tokens_;
    std::vector<KvCache> caches_;             // one an attention layer
    // one a convolution layer, oldest first: conv_width - 1 rows of hidden_size, and before them those that a cut needs
    std::vector<std::vector<float>> convs_;
    std::vector<float> logits_;
    std::atomic<bool> is_used_{false};
};

}  // namespace ruvllm::runtime
