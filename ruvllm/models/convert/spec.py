"""CTranslate2 specifications filled from a checkpoint, quantized tensor by tensor so that memory stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ruvllm.models.convert.checkpoint import DecoderShape, EncoderShape, Tensors

if TYPE_CHECKING:
    from ctranslate2.specs import TransformerDecoderModelSpec, TransformerEncoderModelSpec

__all__ = ["decoder_spec", "encoder_spec"]


def decoder_spec(shape: DecoderShape, tensors: Tensors, quantization: str) -> TransformerDecoderModelSpec:
    """Return a Llama-like decoder in CTranslate2's terms, weights quantized; the vocabulary is still to be set.

    Raises:
        ModelDamaged, ModelUnsupported: a tensor is missing, has another shape, or is left over.
    """
    from ctranslate2.specs import TransformerDecoderModelSpec, common_spec

    spec = TransformerDecoderModelSpec.from_config(
        shape.num_layers,
        shape.num_heads,
        pre_norm=True,
        activation=common_spec.Activation.SWISH,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,  # 0 = the whole head
        rotary_interleave=False,
        rotary_base=shape.rope_theta,
        num_heads_kv=None if shape.num_kv_heads == shape.num_heads else shape.num_kv_heads,
        head_dim=None if shape.head_dim * shape.num_heads == shape.hidden_size else shape.head_dim,
    )
    hidden, ffn, vocab = shape.hidden_size, shape.ffn_size, shape.vocab_size
    q_rows, kv_rows = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    decoder = spec.decoder
    decoder.scale_embeddings = False
    _set(decoder.embeddings, tensors.take("embeddings", (vocab, hidden)), None, quantization)
    decoder.layer_norm.gamma = tensors.take("output_norm", (hidden,))
    if tensors.has("head"):
        _set(decoder.projection, tensors.take("head", (vocab, hidden)), None, quantization)
    else:  # tied: CTranslate2 stores one tensor and an alias, and finds the scales by the alias
        decoder.projection.weight = decoder.embeddings.weight
    for i, layer in enumerate(decoder.layer):
        layer.self_attention.layer_norm.gamma = tensors.take(f"{i}.attention_norm", (hidden,))
        layer.ffn.layer_norm.gamma = tensors.take(f"{i}.ffn_norm", (hidden,))
        rows = {"q": q_rows, "k": kv_rows, "v": kv_rows}
        qkv = np.concatenate([tensors.take(f"{i}.{part}.weight", (n, hidden)) for part, n in rows.items()])
        bias = [tensors.take_if_there(f"{i}.{part}.bias", (n,)) for part, n in rows.items()]
        _set(layer.self_attention.linear[0], qkv, _stacked(bias, rows.values()), quantization)
        out = tensors.take(f"{i}.out.weight", (hidden, q_rows))
        _set(layer.self_attention.linear[1], out, tensors.take_if_there(f"{i}.out.bias", (hidden,)), quantization)
        _set(layer.ffn.linear_0, tensors.take(f"{i}.gate.weight", (ffn, hidden)), None, quantization)
        _set(layer.ffn.linear_0_noact, tensors.take(f"{i}.up.weight", (ffn, hidden)), None, quantization)
        _set(layer.ffn.linear_1, tensors.take(f"{i}.down.weight", (hidden, ffn)), None, quantization)
    tensors.finish(ignorable=("rotary_emb.inv_freq",))
    spec.config.layer_norm_epsilon = shape.norm_eps
    return spec


def encoder_spec(shape: EncoderShape, tensors: Tensors, quantization: str) -> TransformerEncoderModelSpec:
    """Return a BERT-like encoder in CTranslate2's terms; its output is the last hidden state, unpooled.

    Raises:
        ModelDamaged, ModelUnsupported: a tensor is missing, has another shape, or is left over.
    """
    from ctranslate2.specs import TransformerEncoderModelSpec, TransformerEncoderSpec, common_spec

    activation = {
        "gelu": common_spec.Activation.GELU,
        "gelu_tanh": common_spec.Activation.GELUTanh,
        "relu": common_spec.Activation.RELU,
    }[shape.activation]
    encoder = TransformerEncoderSpec(
        shape.num_layers,
        shape.num_heads,
        pre_norm=False,
        activation=activation,
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    spec = TransformerEncoderModelSpec(encoder)
    hidden, ffn = shape.hidden_size, shape.ffn_size
    encoder.scale_embeddings = False
    _set(encoder.embeddings[0], tensors.take("words", (shape.vocab_size, hidden)), None, quantization)
    _set(encoder.embeddings[1], tensors.take("token_types", (shape.num_token_types, hidden)), None, quantization)
    encoder.position_encodings.encodings = tensors.take("positions", (shape.max_positions, hidden))
    _set_norm(encoder.layernorm_embedding, "embeddings_norm", tensors, hidden)
    for i, layer in enumerate(encoder.layer):
        qkv = np.concatenate([tensors.take(f"{i}.{part}.weight", (hidden, hidden)) for part in "qkv"])
        bias = np.concatenate([tensors.take(f"{i}.{part}.bias", (hidden,)) for part in "qkv"])
        _set(layer.self_attention.linear[0], qkv, bias, quantization)
        for linear, part, size in (
            (layer.self_attention.linear[1], "out", (hidden, hidden)),
            (layer.ffn.linear_0, "up", (ffn, hidden)),
            (layer.ffn.linear_1, "down", (hidden, ffn)),
        ):
            weight = tensors.take(f"{i}.{part}.weight", size)
            _set(linear, weight, tensors.take(f"{i}.{part}.bias", (size[0],)), quantization)
        _set_norm(layer.self_attention.layer_norm, f"{i}.attention_norm", tensors, hidden)
        _set_norm(layer.ffn.layer_norm, f"{i}.ffn_norm", tensors, hidden)
    tensors.finish(ignorable=("pooler.", "cls.", "embeddings.position_ids"))
    spec.config.layer_norm_epsilon = shape.norm_eps
    return spec


def _set(layer: Any, weight: np.ndarray, bias: np.ndarray | None, quantization: str) -> None:
    """Fill one linear or embedding layer and let CTranslate2 quantize it now, while only it is in float32."""
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    layer.validate()
    layer.optimize(quantization)


def _set_norm(layer: Any, name: str, tensors: Tensors, size: int) -> None:
    layer.gamma = tensors.take(f"{name}.weight", (size,))
    layer.beta = tensors.take(f"{name}.bias", (size,))


def _stacked(parts: list[np.ndarray | None], sizes: Any) -> np.ndarray | None:
    if all(part is None for part in parts):
        return None
    filled = [np.zeros(n, np.float32) if part is None else part for part, n in zip(parts, sizes, strict=True)]
    return np.concatenate(filled)
