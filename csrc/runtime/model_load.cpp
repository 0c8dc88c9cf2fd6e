// From the variables of a model.bin to the layers of a model: one function a spec.
#include <algorithm>
#include <cmath>
#include <string>

#include "runtime/model.hpp"

namespace ruvllm::runtime {
namespace {

// Written into every Transformer spec by CTranslate2 and of no use here: what they could ask for is checked elsewhere.
const std::set<std::string> kIgnorable = {
    "alignment_heads", "alignment_layer",  "alibi_use_positive_positions", "multi_query_attention",
    "scale_alibi",     "embeddings_merge", "sliding_window",               "start_from_zero_embedding",
    "token_type",      "activation",       "head_dim"};

std::size_t whole(ModelFile& file, const std::string& name, double least, double most) {
    const double value = file.number(name);
    if (!(value >= least && value <= most) || value != std::floor(value)) {
        throw BadModel("model.bin: " + name + " is " + std::to_string(value));
    }
    return static_cast<std::size_t>(value);
}

float positive(ModelFile& file, const std::string& name) {
    const double value = file.number(name);
    if (!(value > 0.0) || !std::isfinite(static_cast<float>(value))) {
        throw BadModel("model.bin: " + name + " is " + std::to_string(value) + ", not positive and finite");
    }
    return static_cast<float>(value);
}

void require_number(ModelFile& file, const std::string& name, double expected) {
    const double value = file.number(name, expected);
    if (value == expected) return;
    throw BadModel("model.bin: " + name + " is " + std::to_string(value) + ", only " + std::to_string(expected) +
                   " is known here");
}

// (rows, columns) of a matrix; columns of a packed int4 one cannot be told from its shape.
std::size_t rows_of(ModelFile& file, const std::string& name) {
    const Variable& variable = file.get(name + (file.has(name + "/qweight") ? "/qweight" : "/weight"));
    if (variable.shape.size() != 2) throw BadModel("model.bin: " + name + "/weight is no matrix");
    return variable.shape[0];
}

std::pair<std::size_t, std::size_t> size_of(ModelFile& file, const std::string& name) {
    const Variable& variable = file.get(name);
    if (variable.shape.size() != 2 || variable.shape[0] == 0 || variable.shape[1] == 0) {
        throw BadModel("model.bin: " + name + " is no matrix");
    }
    return {variable.shape[0], variable.shape[1]};
}

std::size_t count_layers(const ModelFile& file, const std::string& prefix, const std::string& member) {
    std::size_t count = 0;
    while (file.has(prefix + "layer_" + std::to_string(count) + "/" + member)) ++count;
    if (count == 0) throw BadModel("model.bin: variable " + prefix + "layer_0/" + member + " is missing");
    return count;
}

Norm rms(ModelFile& file, const std::string& name, std::size_t size, float eps) {
    return {file.floats(name + "/gamma", {size}), {}, eps};
}

Norm layer_norm(ModelFile& file, const std::string& name, std::size_t size, float eps) {
    return {file.floats(name + "/gamma", {size}), file.floats(name + "/beta", {size}), eps};
}

std::size_t head_dim_of(std::size_t qkv_rows, std::size_t num_heads, std::size_t num_kv_heads) {
    const std::size_t all = num_heads + 2 * num_kv_heads;
    if (qkv_rows % all != 0) {
        throw BadModel("model.bin: self_attention/linear_0 has " + std::to_string(qkv_rows) + " rows for " +
                       std::to_string(num_heads) + " + 2 x " + std::to_string(num_kv_heads) + " heads");
    }
    return qkv_rows / all;
}

}  // namespace

Model::Model(const std::string& path, double norm_eps, std::size_t num_threads) : pool_(num_threads) {
    ModelFile file(path);
    spec_ = file.spec();
    fingerprint_ = file.fingerprint();
    if (spec_ == "Lfm2Spec") {
        load_lfm2(file);
    } else if (spec_ == "TransformerDecoderSpec") {
        load_decoder(file, norm_eps);
    } else if (spec_ == "TransformerEncoderSpec") {
        load_encoder(file, norm_eps);
    } else {
        throw BadModel("model.bin: spec " + spec_ + " is not one of Lfm2Spec, TransformerDecoderSpec, TransformerEncoderSpec");
    }
    file.require_all_used(kIgnorable);
    attention_.resize(pool_.size());
    frequencies_.resize(shape_.head_dim / 2);
    for (std::size_t j = 0; j < frequencies_.size(); ++j) {
        const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(shape_.head_dim);
        frequencies_[j] = static_cast<float>(std::pow(static_cast<double>(shape_.rope_theta), exponent));
    }
}

void Model::require_sane() const {
    if (shape_.num_heads % shape_.num_kv_heads != 0) {
        throw BadModel("model.bin: " + std::to_string(shape_.num_heads) + " query heads over " +
                       std::to_string(shape_.num_kv_heads) + " key-value heads");
    }
    if (shape_.head_dim == 0 || shape_.head_dim % 2 != 0 || shape_.head_dim > kMaxHeadDim) {
        throw BadModel("model.bin: heads of " + std::to_string(shape_.head_dim) + " entries");
    }
}

Ffn Model::gated_ffn(ModelFile& file, const std::string& gate, const std::string& up, const std::string& down) {
    const std::size_t rows = rows_of(file, gate), h = shape_.hidden_size;
    shape_.ffn_size = std::max(shape_.ffn_size, rows);
    Ffn ffn;
    ffn.has_gate = true;
    ffn.gate = Linear(file, {gate}, {rows}, h, arena_, pool_);
    ffn.up = Linear(file, {up}, {rows}, h, arena_, pool_);
    ffn.down = Linear(file, {down}, {h}, rows, arena_, pool_);
    if (ffn.gate.unit() != ffn.up.unit()) throw BadModel("model.bin: " + up + " is quantized unlike " + gate);
    return ffn;
}

void Model::load_lfm2(ModelFile& file) {
    const auto [vocab_size, hidden_size] = size_of(file, "embeddings/weight");
    shape_.vocab_size = vocab_size;
    shape_.hidden_size = hidden_size;
    shape_.num_layers = count_layers(file, "", "operator_norm/gamma");
    shape_.num_heads = whole(file, "num_heads", 1, 1024);
    shape_.num_kv_heads = whole(file, "num_heads_kv", 1, 1024);
    shape_.head_dim = whole(file, "head_dim", 2, kMaxHeadDim);
    shape_.rope_theta = positive(file, "rotary_base");
    const float eps = positive(file, "norm_eps");
    require_sane();
    const std::size_t q = shape_.num_heads * shape_.head_dim, kv = shape_.num_kv_heads * shape_.head_dim;
    head_ = Linear(file, {"projection"}, {vocab_size}, hidden_size, arena_, pool_);
    is_tied_ = &file.get("projection/weight") == &file.get("embeddings/weight");
    if (!is_tied_) words_ = Table(file, "embeddings/weight", vocab_size, hidden_size);
    output_norm_ = rms(file, "output_norm", hidden_size, eps);
    for (std::size_t i = 0; i < shape_.num_layers; ++i) {
        const std::string at = "layer_" + std::to_string(i) + "/";
        Layer layer;
        layer.mixer_norm = rms(file, at + "operator_norm", hidden_size, eps);
        layer.ffn_norm = rms(file, at + "ffn_norm", hidden_size, eps);
        layer.is_conv = file.has(at + "short_conv/conv/weight");
        if (layer.is_conv) {
            layer.state = shape_.num_conv++;
            const Variable& taps = file.get(at + "short_conv/conv/weight");
            const std::size_t width = taps.shape.empty() ? 0 : taps.shape.back();
            if (width < 2 || width > 64 || (shape_.num_conv > 1 && width != shape_.conv_width)) {
                throw BadModel("model.bin: " + at + "short_conv/conv/weight has width " + std::to_string(width));
            }
            shape_.conv_width = width;
            const auto stored = file.floats(at + "short_conv/conv/weight", {hidden_size, 1, width});
            layer.conv.taps.resize(stored.size());
            for (std::size_t c = 0; c < hidden_size; ++c) {
                for (std::size_t j = 0; j < width; ++j) layer.conv.taps[j * hidden_size + c] = stored[c * width + j];
            }
            layer.conv.bias = file.floats_if_there(at + "short_conv/conv/bias", {hidden_size});
            layer.conv.in = Linear(file, {at + "short_conv/in_proj"}, {3 * hidden_size}, hidden_size, arena_, pool_);
            layer.conv.out = Linear(file, {at + "short_conv/out_proj"}, {hidden_size}, hidden_size, arena_, pool_);
        } else {
            layer.state = shape_.num_attention++;
            const std::string self = at + "self_attention/";
            layer.attention.qkv =
                Linear(file, {self + "linear_q", self + "linear_k", self + "linear_v"}, {q, kv, kv}, hidden_size, arena_, pool_);
            layer.attention.out = Linear(file, {self + "linear_out"}, {hidden_size}, q, arena_, pool_);
            layer.attention.q_norm = file.floats(self + "q_norm/gamma", {shape_.head_dim});
            layer.attention.k_norm = file.floats(self + "k_norm/gamma", {shape_.head_dim});
        }
        layer.ffn = gated_ffn(file, at + "ffn_w1", at + "ffn_w3", at + "ffn_w2");
        layers_.push_back(std::move(layer));
    }
}

void Model::load_decoder(ModelFile& file, double norm_eps) {
    const std::string top = "decoder/";
    const auto [vocab_size, hidden_size] = size_of(file, top + "embeddings/weight");
    shape_.vocab_size = vocab_size;
    shape_.hidden_size = hidden_size;
    shape_.num_layers = count_layers(file, top, "self_attention/layer_norm/gamma");
    shape_.num_attention = shape_.num_layers;
    shape_.num_heads = whole(file, top + "num_heads", 1, 1024);
    const std::string first = top + "layer_0/self_attention/";
    shape_.num_kv_heads = file.has(first + "num_heads_kv") ? whole(file, first + "num_heads_kv", 1, 1024) : shape_.num_heads;
    shape_.head_dim = head_dim_of(rows_of(file, first + "linear_0"), shape_.num_heads, shape_.num_kv_heads);
    shape_.rope_theta = positive(file, first + "rotary_base");
    require_sane();
    require_number(file, top + "pre_norm", 1);
    require_number(file, top + "activation", 2);  // SiLU
    require_number(file, top + "alibi", 0);
    require_number(file, top + "sliding_window", 0);
    require_number(file, top + "start_from_zero_embedding", 0);
    require_number(file, top + "scale_embeddings", 0);
    const auto eps = static_cast<float>(norm_eps);
    const std::size_t q = shape_.num_heads * shape_.head_dim, kv = shape_.num_kv_heads * shape_.head_dim;
    head_ = Linear(file, {top + "projection"}, {vocab_size}, hidden_size, arena_, pool_);
    is_tied_ = &file.get(top + "projection/weight") == &file.get(top + "embeddings/weight");
    if (!is_tied_) words_ = Table(file, top + "embeddings/weight", vocab_size, hidden_size);
    output_norm_ = rms(file, top + "layer_norm", hidden_size, eps);
    for (std::size_t i = 0; i < shape_.num_layers; ++i) {
        const std::string at = top + "layer_" + std::to_string(i) + "/", self = at + "self_attention/";
        require_number(file, self + "rotary_interleave", 0);
        require_number(file, self + "sliding_window", 0);
        require_number(file, self + "rotary_base", shape_.rope_theta);
        require_number(file, self + "num_heads_kv", static_cast<double>(shape_.num_kv_heads));
        if (const double dim = file.number(self + "rotary_dim", 0); dim != 0 && dim != static_cast<double>(shape_.head_dim)) {
            throw BadModel("model.bin: " + self + "rotary_dim is " + std::to_string(dim));
        }
        Layer layer;
        layer.state = i;
        layer.mixer_norm = rms(file, self + "layer_norm", hidden_size, eps);
        layer.attention.qkv = Linear(file, {self + "linear_0"}, {q + 2 * kv}, hidden_size, arena_, pool_);
        layer.attention.out = Linear(file, {self + "linear_1"}, {hidden_size}, q, arena_, pool_);
        layer.attention.q_norm = file.floats_if_there(self + "q_norm/gamma", {shape_.head_dim});
        layer.attention.k_norm = file.floats_if_there(self + "k_norm/gamma", {shape_.head_dim});
        layer.ffn_norm = rms(file, at + "ffn/layer_norm", hidden_size, eps);
        layer.ffn = gated_ffn(file, at + "ffn/linear_0", at + "ffn/linear_0_noact", at + "ffn/linear_1");
        layers_.push_back(std::move(layer));
    }
}

void Model::load_encoder(ModelFile& file, double norm_eps) {
    const std::string top = "encoder/";
    const auto [vocab_size, hidden_size] = size_of(file, top + "embeddings_0/weight");
    shape_.is_encoder = true;
    shape_.vocab_size = vocab_size;
    shape_.hidden_size = hidden_size;
    shape_.num_layers = count_layers(file, top, "self_attention/layer_norm/gamma");
    shape_.num_heads = shape_.num_kv_heads = whole(file, top + "num_heads", 1, 1024);
    shape_.num_attention = shape_.num_layers;
    shape_.head_dim = head_dim_of(rows_of(file, top + "layer_0/self_attention/linear_0"), shape_.num_heads, shape_.num_heads);
    shape_.max_positions = size_of(file, top + "position_encodings/encodings").first;
    require_sane();
    require_number(file, top + "pre_norm", 0);
    require_number(file, top + "embeddings_merge", 1);  // the sum
    require_number(file, top + "scale_embeddings", 0);
    const std::size_t kind = whole(file, top + "activation", 0, 6);
    if (kind != 0 && kind != 1 && kind != 3) throw BadModel("model.bin: encoder/activation is " + std::to_string(kind));
    const auto activation = kind == 0   ? kernels::Activation::relu
                            : kind == 1 ? kernels::Activation::gelu_tanh
                                        : kernels::Activation::gelu;
    const auto eps = static_cast<float>(norm_eps);
    words_ = Table(file, top + "embeddings_0/weight", vocab_size, hidden_size);
    token_type_.resize(hidden_size);
    Table(file, top + "embeddings_1/weight", size_of(file, top + "embeddings_1/weight").first, hidden_size)
        .read_row(0, token_type_.data());
    positions_ = file.floats(top + "position_encodings/encodings", {shape_.max_positions, hidden_size});
    embedding_norm_ = layer_norm(file, top + "layernorm_embedding", hidden_size, eps);
    for (std::size_t i = 0; i < shape_.num_layers; ++i) {
        const std::string at = top + "layer_" + std::to_string(i) + "/", self = at + "self_attention/";
        const std::size_t all = shape_.num_heads * shape_.head_dim;
        Layer layer;
        layer.mixer_norm = layer_norm(file, self + "layer_norm", hidden_size, eps);
        layer.attention.qkv = Linear(file, {self + "linear_0"}, {3 * all}, hidden_size, arena_, pool_);
        layer.attention.out = Linear(file, {self + "linear_1"}, {hidden_size}, all, arena_, pool_);
        layer.ffn_norm = layer_norm(file, at + "ffn/layer_norm", hidden_size, eps);
        shape_.ffn_size = std::max(shape_.ffn_size, rows_of(file, at + "ffn/linear_0"));
        layer.ffn.activation = activation;
        const std::size_t rows = rows_of(file, at + "ffn/linear_0");
        layer.ffn.up = Linear(file, {at + "ffn/linear_0"}, {rows}, hidden_size, arena_, pool_);
        layer.ffn.down = Linear(file, {at + "ffn/linear_1"}, {hidden_size}, rows, arena_, pool_);
        layers_.push_back(std::move(layer));
    }
}

std::size_t Model::bytes() const {
    std::size_t total = words_.bytes() + head_.bytes() + positions_.size() * sizeof(float);
    for (const Layer& layer : layers_) {
        total += layer.attention.qkv.bytes() + layer.attention.out.bytes() + layer.conv.in.bytes() + layer.conv.out.bytes();
        total += layer.ffn.gate.bytes() + layer.ffn.up.bytes() + layer.ffn.down.bytes();
    }
    return total;
}

}  // namespace ruvllm::runtime
