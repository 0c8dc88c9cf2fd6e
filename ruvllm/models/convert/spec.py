"""CTranslate2's own specifications of Llama-like decoders and BERT-like encoders, filled from a checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from ctranslate2.specs import (
    TransformerDecoderModelSpec,
    TransformerEncoderModelSpec,
    TransformerEncoderSpec,
    common_spec,
)

from ruvllm.models.convert.checkpoint import DecoderShape, EncoderShape, Matrix, Tensors
from ruvllm.models.convert.variables import fill, linear

__all__ = ["decoder_spec", "encoder_spec"]


def decoder_spec(shape: DecoderShape, tensors: Tensors, quantization: str) -> TransformerDecoderModelSpec:
    """Return a Llama-like decoder whose weights are quantized as it is saved; the vocabulary is still to be set.

    In int4 its linear layers are `Int4LinearSpec`s, which CTranslate2 itself cannot load.

    Raises:
        ModelDamaged, ModelUnsupported: a tensor is missing, has another shape, or is left over.
    """
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
    fill(decoder.embeddings, tensors.matrix("embeddings", (vocab, hidden)), quantization)
    decoder.layer_norm.gamma = tensors.take("output_norm", (hidden,))
    if tensors.has("head"):
        fill(decoder.projection, tensors.matrix("head", (vocab, hidden)), quantization)
    else:  # tied: CTranslate2 stores one tensor and an alias, and finds the scales by the alias
        decoder.projection.weight = decoder.embeddings.weight
    for i, layer in enumerate(decoder.layer):
        layer.self_attention.layer_norm.gamma = tensors.take(f"{i}.attention_norm", (hidden,))
        layer.ffn.layer_norm.gamma = tensors.take(f"{i}.ffn_norm", (hidden,))
        rows = {"q": q_rows, "k": kv_rows, "v": kv_rows}
        qkv = Matrix.stacked([tensors.matrix(f"{i}.{part}.weight", (n, hidden)) for part, n in rows.items()])
        bias = [tensors.take_if_there(f"{i}.{part}.bias", (n,)) for part, n in rows.items()]
        out = tensors.matrix(f"{i}.out.weight", (hidden, q_rows))
        out_bias = tensors.take_if_there(f"{i}.out.bias", (hidden,))
        layer.self_attention.linear = [
            linear(qkv, quantization, _stacked(bias, rows.values())),
            linear(out, quantization, out_bias),
        ]
        layer.ffn.linear_0 = linear(tensors.matrix(f"{i}.gate.weight", (ffn, hidden)), quantization)
        layer.ffn.linear_0_noact = linear(tensors.matrix(f"{i}.up.weight", (ffn, hidden)), quantization)
        layer.ffn.linear_1 = linear(tensors.matrix(f"{i}.down.weight", (hidden, ffn)), quantization)
    tensors.finish(ignorable=("rotary_emb.inv_freq",))
    spec.config.layer_norm_epsilon = shape.norm_eps
    return spec


def encoder_spec(shape: EncoderShape, tensors: Tensors, quantization: str) -> TransformerEncoderModelSpec:
    """Return a BERT-like encoder whose weights are quantized as it is saved.

    Its output is the last hidden state, unpooled.

    Raises:
        ModelDamaged, ModelUnsupported: a tensor is missing, has another shape, or is left over.
    """
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
    fill(encoder.embeddings[0], tensors.matrix("words", (shape.vocab_size, hidden)), quantization)
    fill(encoder.embeddings[1], tensors.matrix("token_types", (shape.num_token_types, hidden)), quantization)
    encoder.position_encodings.encodings = tensors.take("positions", (shape.max_positions, hidden))
    _set_norm(encoder.layernorm_embedding, "embeddings_norm", tensors, hidden)
    for i, layer in enumerate(encoder.layer):
        qkv = Matrix.stacked([tensors.matrix(f"{i}.{part}.weight", (hidden, hidden)) for part in "qkv"])
        bias = np.concatenate([tensors.take(f"{i}.{part}.bias", (hidden,)) for part in "qkv"])
        layer.self_attention.linear = [
            linear(qkv, quantization, bias),
            _linear_with_bias(tensors, f"{i}.out", (hidden, hidden), quantization),
        ]
        layer.ffn.linear_0 = _linear_with_bias(tensors, f"{i}.up", (ffn, hidden), quantization)
        layer.ffn.linear_1 = _linear_with_bias(tensors, f"{i}.down", (hidden, ffn), quantization)
        _set_norm(layer.self_attention.layer_norm, f"{i}.attention_norm", tensors, hidden)
        _set_norm(layer.ffn.layer_norm, f"{i}.ffn_norm", tensors, hidden)
    tensors.finish(ignorable=("pooler.", "cls.", "embeddings.position_ids"))
    spec.config.layer_norm_epsilon = shape.norm_eps
    return spec


def _linear_with_bias(tensors: Tensors, name: str, size: tuple[int, int], quantization: str) -> Any:
    return linear(tensors.matrix(f"{name}.weight", size), quantization, tensors.take(f"{name}.bias", size[:1]))


def _set_norm(layer: Any, name: str, tensors: Tensors, size: int) -> None:
    layer.gamma = tensors.take(f"{name}.weight", (size,))
    layer.beta = tensors.take(f"{name}.bias", (size,))


def _stacked(parts: list[np.ndarray | None], sizes: Any) -> np.ndarray | None:
    if all(part is None for part in parts):
        return None
    filled = [np.zeros(n, np.float32) if part is None else part for part, n in zip(parts, sizes, strict=True)]
    return np.concatenate(filled)
