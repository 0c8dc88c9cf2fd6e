"""LFM2 as a CTranslate2 specification of our own: CTranslate2 quantizes and writes it, the runtime executes it."""

from __future__ import annotations

from typing import Any

from ctranslate2.specs import common_spec, model_spec

from ruvllm.models.convert.checkpoint import Lfm2Shape, Tensors
from ruvllm.models.convert.variables import fill, linear, scalar

__all__ = ["Lfm2Spec", "lfm2_spec"]


class ShortConvSpec(model_spec.LayerSpec):
    """in_proj makes [B | C | z] of a token, conv runs over B * z, out_proj takes C times its result."""

    def __init__(self) -> None:
        self.in_proj: Any = None
        self.conv = DepthwiseConvSpec()
        self.out_proj: Any = None


class DepthwiseConvSpec(model_spec.LayerSpec):
    """The taps, (hidden, 1, width): the last one meets the present token. Without weight_scale they stay float32."""

    def __init__(self) -> None:
        self.weight: Any = None
        self.bias = model_spec.OPTIONAL


class AttentionSpec(model_spec.LayerSpec):
    """Grouped-query attention; every query and key head passes a norm, then half-rotation RoPE."""

    def __init__(self) -> None:
        self.linear_q: Any = None
        self.linear_k: Any = None
        self.linear_v: Any = None
        self.linear_out: Any = None
        self.q_norm = common_spec.LayerNormSpec(rms_norm=True)
        self.k_norm = common_spec.LayerNormSpec(rms_norm=True)


class Lfm2LayerSpec(model_spec.LayerSpec):
    """A convolution or an attention, then a gated feed-forward block w2(silu(w1 n) * w3 n)."""

    def __init__(self, kind: str) -> None:
        self.operator_norm = common_spec.LayerNormSpec(rms_norm=True)
        self.ffn_norm = common_spec.LayerNormSpec(rms_norm=True)
        if kind == "conv":
            self.short_conv = ShortConvSpec()
        else:
            self.self_attention = AttentionSpec()
        self.ffn_w1: Any = None
        self.ffn_w2: Any = None
        self.ffn_w3: Any = None


class Lfm2Spec(model_spec.LanguageModelSpec):
    """The whole model; a layer's kind shows in the variables it has, the width of a convolution in its taps."""

    def __init__(self, shape: Lfm2Shape) -> None:
        super().__init__()
        self.num_heads = scalar(shape.num_heads)
        self.num_heads_kv = scalar(shape.num_kv_heads)
        self.head_dim = scalar(shape.head_dim)
        self.rotary_base = scalar(shape.rope_theta)
        self.norm_eps = scalar(shape.norm_eps)
        self.embeddings = common_spec.EmbeddingsSpec()
        self.layer = [Lfm2LayerSpec(kind) for kind in shape.layer_types]
        self.output_norm = common_spec.LayerNormSpec(rms_norm=True)
        self.projection = common_spec.LinearSpec()

    @property
    def name(self) -> str:
        return "Lfm2Spec"

    @property
    def revision(self) -> int:
        return 1

    def get_vocabulary_size(self) -> int:
        return int(self.embeddings.weight.shape[0])


def lfm2_spec(shape: Lfm2Shape, tensors: Tensors, quantization: str) -> Lfm2Spec:
    """Return an LFM2 model whose weights are quantized as it is saved; the vocabulary is still to be set.

    Raises:
        ModelDamaged, ModelUnsupported: a tensor is missing, has another shape, or is left over.
    """
    spec = Lfm2Spec(shape)
    hidden, vocab = shape.hidden_size, shape.vocab_size
    fill(spec.embeddings, tensors.matrix("embeddings", (vocab, hidden)), quantization)
    if tensors.has("head"):
        fill(spec.projection, tensors.matrix("head", (vocab, hidden)), quantization)
    else:
        spec.projection.weight = spec.embeddings.weight  # written once, with an alias
    spec.output_norm.gamma = tensors.take("output_norm", (hidden,))
    for i, layer in enumerate(spec.layer):
        layer.operator_norm.gamma = tensors.take(f"{i}.operator_norm", (hidden,))
        layer.ffn_norm.gamma = tensors.take(f"{i}.ffn_norm", (hidden,))
        if shape.layer_types[i] == "conv":
            _fill_conv(layer.short_conv, f"{i}.", shape, tensors, quantization)
        else:
            _fill_attention(layer.self_attention, f"{i}.", shape, tensors, quantization)
        sizes = {"w1": (shape.ffn_size, hidden), "w2": (hidden, shape.ffn_size), "w3": (shape.ffn_size, hidden)}
        for part, size in sizes.items():
            setattr(layer, f"ffn_{part}", linear(tensors.matrix(f"{i}.{part}.weight", size), quantization))
    tensors.finish()
    return spec


def _fill_conv(conv: ShortConvSpec, at: str, shape: Lfm2Shape, tensors: Tensors, quantization: str) -> None:
    hidden, width = shape.hidden_size, shape.conv_width
    for part, rows in (("in_proj", 3 * hidden), ("out_proj", hidden)):
        bias = tensors.take(f"{at}{part}.bias", (rows,)) if shape.has_conv_bias else None
        matrix = tensors.matrix(f"{at}{part}.weight", (rows, hidden))
        setattr(conv, part, linear(matrix, quantization, bias))
    conv.conv.weight = tensors.take(
        f"{at}conv.weight", (hidden, 1, width), stored_as=((hidden, width), (hidden, width, 1))
    )
    if shape.has_conv_bias:
        conv.conv.bias = tensors.take(f"{at}conv.bias", (hidden,))


def _fill_attention(attention: AttentionSpec, at: str, shape: Lfm2Shape, tensors: Tensors, quantization: str) -> None:
    q_rows, kv_rows, hidden = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim, shape.hidden_size
    sizes = {"q": (q_rows, hidden), "k": (kv_rows, hidden), "v": (kv_rows, hidden), "out": (hidden, q_rows)}
    for part, size in sizes.items():
        setattr(attention, f"linear_{part}", linear(tensors.matrix(f"{at}{part}.weight", size), quantization))
    attention.q_norm.gamma = tensors.take(f"{at}q_norm", (shape.head_dim,))
    attention.k_norm.gamma = tensors.take(f"{at}k_norm", (shape.head_dim,))
