"""What any source of weights looks like to the builders: one set of names, one way to ask for a tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ruvllm.errors import ModelDamaged, ModelUnsupported

__all__ = [
    "Checkpoint",
    "DecoderShape",
    "EncoderShape",
    "TensorSource",
    "Tensors",
    "TextSide",
    "gguf_decoder_names",
    "hf_decoder_names",
    "hf_encoder_names",
]

# One row a tensor: the name used here, the Hugging Face name, the GGUF name. {i} is the layer.
_DECODER = (
    ("embeddings", "model.embed_tokens.weight", "token_embd.weight"),
    ("output_norm", "model.norm.weight", "output_norm.weight"),
    ("head", "lm_head.weight", "output.weight"),
)
_DECODER_LAYER = (
    ("{i}.attention_norm", "model.layers.{i}.input_layernorm.weight", "blk.{i}.attn_norm.weight"),
    ("{i}.q.weight", "model.layers.{i}.self_attn.q_proj.weight", "blk.{i}.attn_q.weight"),
    ("{i}.k.weight", "model.layers.{i}.self_attn.k_proj.weight", "blk.{i}.attn_k.weight"),
    ("{i}.v.weight", "model.layers.{i}.self_attn.v_proj.weight", "blk.{i}.attn_v.weight"),
    ("{i}.q.bias", "model.layers.{i}.self_attn.q_proj.bias", "blk.{i}.attn_q.bias"),
    ("{i}.k.bias", "model.layers.{i}.self_attn.k_proj.bias", "blk.{i}.attn_k.bias"),
    ("{i}.v.bias", "model.layers.{i}.self_attn.v_proj.bias", "blk.{i}.attn_v.bias"),
    ("{i}.out.weight", "model.layers.{i}.self_attn.o_proj.weight", "blk.{i}.attn_output.weight"),
    ("{i}.out.bias", "model.layers.{i}.self_attn.o_proj.bias", "blk.{i}.attn_output.bias"),
    ("{i}.ffn_norm", "model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.ffn_norm.weight"),
    ("{i}.gate.weight", "model.layers.{i}.mlp.gate_proj.weight", "blk.{i}.ffn_gate.weight"),
    ("{i}.up.weight", "model.layers.{i}.mlp.up_proj.weight", "blk.{i}.ffn_up.weight"),
    ("{i}.down.weight", "model.layers.{i}.mlp.down_proj.weight", "blk.{i}.ffn_down.weight"),
)
_ENCODER = (
    ("words", "embeddings.word_embeddings.weight"),
    ("token_types", "embeddings.token_type_embeddings.weight"),
    ("positions", "embeddings.position_embeddings.weight"),
    ("embeddings_norm.weight", "embeddings.LayerNorm.weight"),
    ("embeddings_norm.bias", "embeddings.LayerNorm.bias"),
)
_ENCODER_LAYER = (
    ("{i}.q", "encoder.layer.{i}.attention.self.query"),
    ("{i}.k", "encoder.layer.{i}.attention.self.key"),
    ("{i}.v", "encoder.layer.{i}.attention.self.value"),
    ("{i}.out", "encoder.layer.{i}.attention.output.dense"),
    ("{i}.attention_norm", "encoder.layer.{i}.attention.output.LayerNorm"),
    ("{i}.up", "encoder.layer.{i}.intermediate.dense"),
    ("{i}.down", "encoder.layer.{i}.output.dense"),
    ("{i}.ffn_norm", "encoder.layer.{i}.output.LayerNorm"),
)


def hf_decoder_names(num_layers: int) -> dict[str, str]:
    """Return our name -> Hugging Face name of a Llama-like decoder's tensors."""
    return _decoder_names(num_layers, column=1)


def gguf_decoder_names(num_layers: int) -> dict[str, str]:
    """Return our name -> GGUF name of a Llama-like decoder's tensors."""
    return _decoder_names(num_layers, column=2)


def _decoder_names(num_layers: int, column: int) -> dict[str, str]:
    names = {row[0]: row[column] for row in _DECODER}
    for i in range(num_layers):
        names |= {row[0].format(i=i): row[column].format(i=i) for row in _DECODER_LAYER}
    return names


def hf_encoder_names(num_layers: int, prefix: str = "") -> dict[str, str]:
    """Return our name -> Hugging Face name of a BERT-like encoder's tensors; `prefix` is "bert." under a head."""
    names = {ours: prefix + theirs for ours, theirs in _ENCODER}
    for i in range(num_layers):
        for ours, theirs in _ENCODER_LAYER:
            for part in ("weight", "bias"):
                names[f"{ours.format(i=i)}.{part}"] = f"{prefix}{theirs.format(i=i)}.{part}"
    return names


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes and constants of a Llama-like decoder (pre-norm, RMS norm, half-rotation RoPE, SwiGLU)."""

    num_layers: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    context_tokens: int
    norm_eps: float
    rope_theta: float


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes and constants of a BERT-like encoder (post-norm, learned positions)."""

    num_layers: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    vocab_size: int
    max_positions: int
    num_token_types: int
    norm_eps: float
    activation: Literal["gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, slots=True)
class TextSide:
    """Everything about text: `tokenizer` is tokenizer.json, `config` the normalised tokenizer_config.json."""

    tokenizer: str
    config: Mapping[str, Any]
    stop_tokens: tuple[str, ...] = ()
    generation: Mapping[str, float] = field(default_factory=dict)


class TensorSource(Protocol):
    """A file or folder of named tensors."""

    def names(self) -> Collection[str]:
        """Return the tensors' names."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the logical shape, rows first."""
        ...

    def read(self, name: str) -> np.ndarray:
        """Return a fresh, writable, C-contiguous float32 array."""
        ...


class Tensors:
    """The tensors of one model under our names, each checked against the shape the configuration promises."""

    def __init__(
        self,
        source: TensorSource,
        names: Mapping[str, str],
        *,
        model: str,
        fix: Callable[[str, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """`fix` gets (our name, array) and returns the array in Hugging Face's row order."""
        self._source = source
        self._names = names
        self._model = model
        self._fix = fix
        self._present = frozenset(source.names())
        self._taken: set[str] = set()
        self.parameters = 0

    def has(self, name: str) -> bool:
        """Return whether the source holds the tensor."""
        return self._names[name] in self._present

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the float32 tensor, fresh and writable.

        Raises:
            ModelDamaged: it is missing or does not have `shape`.
        """
        theirs = self._names[name]
        if theirs not in self._present:
            raise ModelDamaged(f"{self._model}: tensor {theirs} is missing", model=self._model)
        found = self._source.shape(theirs)
        if found != shape:
            raise ModelDamaged(
                f"{self._model}: tensor {theirs} has shape {found}, the configuration promises {shape}",
                model=self._model,
            )
        self._taken.add(theirs)
        self.parameters += int(np.prod(shape))
        array = self._source.read(theirs)
        return array if self._fix is None else self._fix(name, array)

    def take_if_there(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the tensor, or None when the source does not hold it."""
        return self.take(name, shape) if self.has(name) else None

    def finish(self, ignorable: Iterable[str] = ()) -> None:
        """Check that nothing was left over: a tensor that no builder asked for means another architecture.

        Raises:
            ModelUnsupported: a tensor is left whose name contains none of `ignorable`.
        """
        ignorable = tuple(ignorable)
        left = sorted(n for n in self._present - self._taken if not any(part in n for part in ignorable))
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise ModelUnsupported(f"{self._model}: no use for tensor {left[0]}{more}", model=self._model)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model before conversion. `pooling` and `max_tokens` are what an encoder was trained with."""

    model: str
    shape: DecoderShape | EncoderShape
    tensors: Tensors
    text: TextSide
    pooling: Literal["mean", "cls"] | None = None
    max_tokens: int | None = None
    license: str | None = None
