// A transformer from a model.bin: hybrid and Llama-like decoders, BERT-like encoders, all made of the same blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/transformer.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/linear.hpp"
#include "runtime/model_file.hpp"
#include "runtime/thread_pool.hpp"

namespace ruvllm::runtime {

class Session;

// Weights of one norm: RMS without beta, layer norm with it.
struct Norm {
    std::vector<float> gamma, beta;
    float eps = 0.0f;

    // out (m rows) = norm of x; rows [first, end).
    void apply(const float* x, std::size_t ldx, std::size_t first, std::size_t end, float* out, std::size_t ldo) const;
};

struct Attention {
    Linear qkv, out;
    std::vector<float> q_norm, k_norm;  // (head_dim,) or empty
};

struct ShortConv {
    Linear in, out;
    std::vector<float> taps, bias;  // (width, hidden_size), (hidden_size,) or empty
};

struct Ffn {
    Linear gate, up, down;  // no gate: down(f(up x)), else down(silu(gate x) up x)
    bool has_gate = false;
    kernels::Activation activation{};
};

struct Layer {
    bool is_conv = false;
    std::size_t state = 0;  // index among the session's key-value caches or convolution states
    Norm mixer_norm, ffn_norm;
    Attention attention;
    ShortConv conv;
    Ffn ffn;
};

struct Shape {
    std::size_t hidden_size = 0, ffn_size = 0, vocab_size = 0, num_layers = 0;
    std::size_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
    std::size_t num_attention = 0, num_conv = 0, conv_width = 1;
    std::size_t max_positions = 0;  // of learned positions; 0 = no limit of its own
    float rope_theta = 0.0f;
    bool is_encoder = false;  // no mask, norms behind the blocks, learned positions
};

// Some tokens of one session, on their way through the model.
struct Segment {
    Session* session;
    const std::int32_t* ids;
    std::size_t count;
    std::size_t tail = 1;  // last tokens of it whose logits are wanted, in [1, count]
};

// What is wanted of the tokens of a pass.
enum class Want { logits, logprobs, hidden };

// Safe to share between threads: passes wait for each other. Sessions hold a reference.
class Model {
  public:
    // Throws BadModel: unreadable, damaged, contradicting itself, or of a spec that is not known here.
    //   norm_eps  where the file does not say
    Model(const std::string& path, double norm_eps, std::size_t num_threads);

    const Shape& shape() const { return shape_; }
    const std::string& spec() const { return spec_; }
    std::uint64_t fingerprint() const { return fingerprint_; }
    std::size_t num_threads() const { return pool_.size(); }
    std::size_t bytes() const;

    // Runs the segments' tokens in one pass over the weights and appends them to their sessions, each of which stands
    // in at most one segment. Sessions keep the logits after their last token. `out`:
    //   logits    (sum of the tails, vocab_size), or null: then none but the sessions' are kept
    //   logprobs  (total,): of each token after those before it; NaN where the logits before it are not known
    //   hidden    (total, hidden_size): what the head sees
    // Throws std::bad_alloc, then the sessions hold the tokens they held, but no logits.
    void advance(const std::vector<Segment>& segments, Want want, float* out);

    // Sets the convolution states to those after the session's first `position` tokens, its keys and values standing.
    void replay(Session& session, std::size_t position);

    // Means of the final hidden states of each text: out (count, hidden_size).
    //   lengths  tokens of each text, >= 1; ids follow each other
    void encode(const std::int32_t* ids, const std::size_t* lengths, std::size_t count, float* out);

    // Throws std::invalid_argument naming the place: an id outside the vocabulary.
    void require_ids(const std::int32_t* ids, std::size_t count) const;

  private:
    // A stretch of rows of a pass that belong to one sequence.
    struct Stretch {
        Session* session;  // null: the whole sequence is here, and every token sees every other
        std::size_t first, count, position;
        std::size_t tail = 0;  // of its last rows, those whose logits are wanted; the last one's are in any case
    };

    void load_decoder(ModelFile& file, double norm_eps);
    void load_encoder(ModelFile& file, double norm_eps);
    void load_lfm2(ModelFile& file);
    Ffn gated_ffn(ModelFile& file, const std::string& gate, const std::string& up, const std::string& down);
    void require_sane() const;

    void require_rotations(std::size_t positions);
    // Memory for a pass of m tokens that ends at `positions`; throws std::bad_alloc.
    void reserve(std::size_t m, std::size_t positions);
    // Final hidden states of the rows in `wanted` (ascending) into x_; `writes`: keys and values are stored.
    void run(const std::vector<Stretch>& stretches, const std::int32_t* ids, const std::vector<std::size_t>& wanted,
             bool writes);
    void embed(const std::vector<Stretch>& stretches, const std::int32_t* ids, std::size_t m);
    void attend(const Layer& layer, const std::vector<Stretch>& stretches, bool writes);
    void convolve(const Layer& layer, const std::vector<Stretch>& stretches, std::size_t m);
    void feed_forward(const Layer& layer, std::size_t m);
    void normalise(const Norm& norm, std::size_t m, const Linear& into);
    void head(std::size_t first, std::size_t m, float* logits);
    void finish(const std::vector<Stretch>& stretches, const std::vector<std::int32_t>& ids, Want want,
                const std::vector<std::size_t>& wanted, float* out);

    Shape shape_;
    std::string spec_;
    std::uint64_t fingerprint_ = 0;
    ThreadPool pool_;
    std::mutex mutex_;
    Arena arena_;

    Table words_;           // unless the head is tied to it
    Linear head_;           // none in an encoder
    bool is_tied_ = false;
    std::vector<float> positions_, token_type_;  // learned, and that of type 0
    Norm embedding_norm_, output_norm_;
    std::vector<Layer> layers_;
    std::vector<float> frequencies_;          // (head_dim / 2,)
    std::vector<float> cosines_, sines_;      // (positions so far, head_dim / 2)

    // scratch of a pass, rows of the tokens in it
    engines::AlignedBuffer<float> x_, projected_, up_, logits_, history_;
    Activations in_, mixed_, between_;
    std::vector<AttentionScratch> attention_;
};

}  // namespace ruvllm::runtime
