"""Tensors and metadata of a GGUF file, and the model they describe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import Checkpoint, DecoderShape, Lfm2Shape, Tensors
from ruvllm.models.convert.gguf_tokenizer import text_side
from ruvllm.models.convert.int4 import GROUP_SIZE, Int4
from ruvllm.models.convert.lfm2_config import context_tokens
from ruvllm.models.convert.names import gguf_decoder_names, gguf_lfm2_names

__all__ = ["GgufFile", "gguf_checkpoint"]

_TYPES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
_ARCHITECTURES = ("llama", "qwen2", "lfm2")
_BLOCK_ROWS = 256  # rows that are dequantized at a time


class GgufFile:
    """A `TensorSource` over one GGUF file; `fields` maps every metadata key to its value."""

    def __init__(self, path: Path, *, model: str) -> None:
        """Map the file and read its metadata.

        Raises:
            ModelDamaged: the file is truncated or no GGUF file.
        """
        import gguf

        self._model = model
        try:
            reader = gguf.GGUFReader(path)
            self.fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
        except (ValueError, IndexError, KeyError, OverflowError, MemoryError, TypeError, AttributeError) as error:
            raise ModelDamaged(f"{model}: {path.name} is truncated or no GGUF file: {error}", model=model) from error
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}

    def names(self) -> Collection[str]:
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(n) for n in reversed(self._tensors[name].shape))  # GGUF lists the innermost first

    def read(self, name: str) -> np.ndarray:
        from gguf.quants import dequantize

        tensor = self._tensors[name]
        kind = tensor.tensor_type.name
        if kind not in _TYPES:
            raise ModelUnsupported(f"{self._model}: tensor {name} is quantized as {kind}", model=self._model)
        stored, array = (
            np.asarray(tensor.data),
            np.empty(self.shape(name), np.float32),
        )  # no memmap: its slices are slow
        block_rows = _BLOCK_ROWS if array.ndim > 1 else len(array)
        for start in range(0, len(array), block_rows):
            rows = slice(start, start + block_rows)
            array[rows] = dequantize(stored[rows], tensor.tensor_type)
        return array

    def read_int4(self, name: str) -> Int4 | None:
        tensor = self._tensors[name]
        if tensor.tensor_type.name != "Q4_0" or len(tensor.shape) != 2:
            return None
        rows, columns = self.shape(name)
        blocks = tensor.data.reshape(rows, columns // GROUP_SIZE, 2 + GROUP_SIZE // 2)  # a float16 scale, then codes
        scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0]
        return Int4(np.ascontiguousarray(blocks[..., 2:]).reshape(rows, -1).view(np.int8), scales)


def gguf_checkpoint(path: Path, *, model: str) -> Checkpoint:
    """Return the model in a GGUF file.

    Raises:
        ModelDamaged: the file is truncated, or a field contradicts another.
        ModelUnsupported: another architecture than llama, qwen2 or lfm2, RoPE scaling, or an unknown tokenizer.
    """
    file = GgufFile(path, model=model)
    architecture = file.fields.get("general.architecture")
    if architecture not in _ARCHITECTURES:
        hint = "; mixtures of experts do not run here" if architecture == "lfm2moe" else ""
        known = ", ".join(_ARCHITECTURES)
        raise ModelUnsupported(f"{model}: GGUF architecture {architecture!r} is not one of {known}{hint}", model=model)
    text, licence = text_side(file.fields, model), _license(file.fields)
    if architecture == "lfm2":
        lfm2 = _lfm2_shape(file, model)
        tensors = Tensors(file, gguf_lfm2_names(lfm2.layer_types), model=model)
        return Checkpoint(model=model, shape=lfm2, tensors=tensors, text=text, license=licence)
    shape = _decoder_shape(file, architecture, model)
    heads = {"q": shape.num_heads, "k": shape.num_kv_heads}

    def restore_row_order(name: str, array: np.ndarray) -> np.ndarray:
        part = name.split(".")[1] if "." in name else name
        return _unpermute(array, heads[part]) if part in heads else array

    tensors = Tensors(
        file,
        gguf_decoder_names(shape.num_layers),
        model=model,
        fix=restore_row_order if architecture == "llama" else None,
    )
    return Checkpoint(model=model, shape=shape, tensors=tensors, text=text, license=licence)


def _license(fields: Mapping[str, Any]) -> str | None:
    """Return the licence; "other" hides its name in a field of its own."""
    stated: str | None = fields.get("general.license")
    return fields.get("general.license.name", stated) if stated == "other" else stated


def _unpermute(array: np.ndarray, num_heads: int) -> np.ndarray:
    """Return q or k rows in Hugging Face's order: llama.cpp stores each head's rotary pairs side by side.

    (num_heads * head_dim[, in]) -> the same shape, pair (j, j + head_dim / 2) instead of (2j, 2j + 1).
    """
    pairs = array.reshape(num_heads, array.shape[0] // num_heads // 2, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)


def _decoder_shape(file: GgufFile, architecture: str, model: str) -> DecoderShape:
    fields = file.fields

    def get(key: str, kind: type = int, default: Any = None) -> Any:
        return _field(fields, f"{architecture}.{key}", kind, model, default)

    scaling = fields.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.names():
        raise ModelUnsupported(f"{model}: RoPE scaling {scaling!r} ({architecture}.rope.scaling.type)", model=model)
    if get("expert_count", default=0):
        raise ModelUnsupported(f"{model}: mixtures of experts ({architecture}.expert_count)", model=model)
    num_heads, hidden_size = get("attention.head_count"), get("embedding_length")
    if num_heads < 1 or hidden_size % num_heads:
        raise ModelDamaged(f"{model}: {architecture}.attention.head_count is {num_heads}", model=model)
    head_dim = get("attention.key_length", default=hidden_size // num_heads)
    if get("rope.dimension_count", default=head_dim) != head_dim:
        raise ModelUnsupported(f"{model}: partial RoPE ({architecture}.rope.dimension_count)", model=model)
    if get("attention.value_length", default=head_dim) != head_dim:
        raise ModelUnsupported(f"{model}: {architecture}.attention.value_length", model=model)
    if "token_embd.weight" not in file.names():
        raise ModelDamaged(f"{model}: tensor token_embd.weight is missing", model=model)
    return DecoderShape(
        num_layers=get("block_count"),
        hidden_size=hidden_size,
        ffn_size=get("feed_forward_length"),
        num_heads=num_heads,
        num_kv_heads=get("attention.head_count_kv", default=num_heads),
        head_dim=head_dim,
        vocab_size=file.shape("token_embd.weight")[0],
        context_tokens=get("context_length"),
        norm_eps=get("attention.layer_norm_rms_epsilon", float),
        rope_theta=get("rope.freq_base", float, 10_000.0),
    )


def _lfm2_shape(file: GgufFile, model: str) -> Lfm2Shape:
    fields = file.fields

    def get(key: str, kind: type = int, default: Any = None) -> Any:
        return _field(fields, f"lfm2.{key}", kind, model, default)

    for key, plain in (("rope.scaling.type", "none"), ("attention.causal", True), ("attention.sliding_window", 0)):
        if (value := fields.get(f"lfm2.{key}", plain)) != plain:
            raise ModelUnsupported(f"{model}: lfm2.{key} is {value!r}", model=model)
    kv_heads = fields.get("lfm2.attention.head_count_kv")  # one number a layer, 0 for a convolution
    counts = set(kv_heads) - {0} if isinstance(kv_heads, list) else set()
    if not isinstance(kv_heads, list) or len(kv_heads) != get("block_count") or len(counts) != 1:
        raise ModelDamaged(f"{model}: metadata lfm2.attention.head_count_kv is {kv_heads!r}", model=model)
    num_heads, num_kv_heads, hidden_size = get("attention.head_count"), int(counts.pop()), get("embedding_length")
    if num_heads < 1 or num_heads % num_kv_heads:
        raise ModelDamaged(f"{model}: metadata lfm2.attention.head_count is {num_heads}", model=model)
    head_dim = get("attention.key_length", default=hidden_size // num_heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if get(key, default=head_dim) != head_dim:
            raise ModelUnsupported(f"{model}: lfm2.{key} is not the heads' {head_dim}", model=model)
    if "token_embd.weight" not in file.names():
        raise ModelDamaged(f"{model}: tensor token_embd.weight is missing", model=model)
    return Lfm2Shape(
        layer_types=tuple("full_attention" if count else "conv" for count in kv_heads),
        hidden_size=hidden_size,
        ffn_size=get("feed_forward_length"),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        conv_width=get("shortconv.l_cache"),
        has_conv_bias=any(name.endswith("shortconv.conv.bias") for name in file.names()),
        vocab_size=get("vocab_size", default=file.shape("token_embd.weight")[0]),
        context_tokens=context_tokens(get("context_length")),
        norm_eps=get("attention.layer_norm_rms_epsilon", float),
        rope_theta=get("rope.freq_base", float, 1_000_000.0),
    )


def _field(fields: Mapping[str, Any], key: str, kind: type, model: str, default: Any) -> Any:
    value = fields.get(key, default)
    if value is None:
        raise ModelDamaged(f"{model}: metadata {key} is missing", model=model)
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and value != int(value)):
        raise ModelUnsupported(f"{model}: metadata {key} is {value!r}", model=model)
    return kind(value)
