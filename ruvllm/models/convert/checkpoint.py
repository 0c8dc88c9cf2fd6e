"""What any source of weights looks like to the builders: one set of names, one way to ask for a tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.int4 import Int4

__all__ = [
    "END_OF_TURN",
    "Checkpoint",
    "DecoderShape",
    "EncoderShape",
    "Lfm2Shape",
    "Matrix",
    "TensorSource",
    "Tensors",
    "TextSide",
]


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
class Lfm2Shape:
    """Sizes and constants of an LFM2 decoder: gated short convolutions, and attention with normed queries and keys.

    `layer_types` holds "conv" or "full_attention" a layer; `conv_width` counts a convolution's taps.
    """

    layer_types: tuple[str, ...]
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    conv_width: int
    has_conv_bias: bool
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


# Special tokens that end a turn whatever the files call "eos": chat models stop on several.
END_OF_TURN = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")


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

    def read_int4(self, name: str) -> Int4 | None:
        """Return the codes and scales of a tensor that is stored on the grid of `int4`, None for any other."""
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

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor that the source holds, rows first."""
        return self._source.shape(self._names[name])

    def take(self, name: str, shape: tuple[int, ...], *, stored_as: Collection[tuple[int, ...]] = ()) -> np.ndarray:
        """Return the float32 tensor, fresh and writable.

        Args:
            stored_as: other shapes that files give the same values in the same order.

        Raises:
            ModelDamaged: it is missing, does not have `shape`, or holds a value that is not finite.
        """
        self._check(name, (shape, *stored_as))
        return self.read(name).reshape(shape)

    def take_if_there(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the tensor, or None when the source does not hold it."""
        return self.take(name, shape) if self.has(name) else None

    def matrix(self, name: str, shape: tuple[int, int]) -> Matrix:
        """Return a matrix that is checked now and read later.

        Raises:
            ModelDamaged: it is missing or does not have `shape`.
        """
        self._check(name, (shape,))
        return Matrix(self, (name,), shape)

    def read(self, name: str) -> np.ndarray:
        """Return the float32 tensor that `matrix` checked.

        Raises:
            ModelDamaged: it holds a value that is not finite.
        """
        array = self._source.read(self._names[name])
        self._check_finite(name, array)
        return array if self._fix is None else self._fix(name, array)

    def read_int4(self, name: str) -> Int4 | None:
        """Return the tensor's own int4 codes and scales, or None when it is not stored so."""
        stored = self._source.read_int4(self._names[name])
        if stored is None:
            return None
        self._check_finite(name, stored.scales)
        if self._fix is None:
            return stored
        return Int4(self._fix(name, stored.codes), self._fix(name, stored.scales))

    def _check_finite(self, name: str, array: np.ndarray) -> None:
        if not np.isfinite(array).all():
            raise ModelDamaged(f"{self._model}: tensor {self._names[name]} holds a NaN or infinity", model=self._model)

    def _check(self, name: str, shapes: Collection[tuple[int, ...]]) -> None:
        theirs = self._names[name]
        if theirs not in self._present:
            raise ModelDamaged(f"{self._model}: tensor {theirs} is missing", model=self._model)
        found = self._source.shape(theirs)
        if found not in shapes:
            raise ModelDamaged(
                f"{self._model}: tensor {theirs} has shape {found}, the configuration promises {next(iter(shapes))}",
                model=self._model,
            )
        self._taken.add(theirs)
        self.parameters += int(np.prod(found))

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
class Matrix:
    """One or several weight matrices of equal width, stacked; nothing is read before it is asked for."""

    tensors: Tensors
    names: tuple[str, ...]
    shape: tuple[int, int]

    @classmethod
    def stacked(cls, parts: Sequence[Matrix]) -> Matrix:
        """Return the parts below one another."""
        shape = (sum(part.shape[0] for part in parts), parts[0].shape[1])
        return cls(parts[0].tensors, tuple(name for part in parts for name in part.names), shape)

    def read(self) -> np.ndarray:
        """Return the (rows, columns) float32 values, fresh and writable."""
        arrays = [self.tensors.read(name) for name in self.names]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def read_int4(self) -> Int4 | None:
        """Return the int4 codes and scales as they are stored, or None when a part is stored otherwise."""
        parts = [self.tensors.read_int4(name) for name in self.names]
        stored = [part for part in parts if part is not None]
        if len(stored) < len(parts):
            return None
        return Int4(np.concatenate([part.codes for part in stored]), np.concatenate([part.scales for part in stored]))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model before conversion. `pooling` and `max_tokens` are what an encoder was trained with."""

    model: str
    shape: DecoderShape | Lfm2Shape | EncoderShape
    tensors: Tensors
    text: TextSide
    pooling: Literal["mean", "cls"] | None = None
    max_tokens: int | None = None
    license: str | None = None
