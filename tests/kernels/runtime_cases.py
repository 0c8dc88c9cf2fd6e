"""What the tests of the runtime share: shapes, models, passes in one go, and its integer arithmetic in float64."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from models import lfm2_numpy
from models.lfm2_numpy import ModelBin
from models.tiny_lfm2 import ATTENTION, CONV, Size

from ruvllm.kernels import KvType, RuntimeModel, RuntimeSession

Ids = npt.NDArray[np.int32]
GROUP = 64  # entries of an activation that share a scale

SIZES = {
    "conv attention conv": Size(),
    "attention first and last": Size((ATTENTION, CONV, CONV, ATTENTION)),
    "attention only": Size((ATTENTION, ATTENTION)),
    "convolutions only": Size((CONV, CONV, CONV)),
    "a key-value head each": Size(heads=4, kv_heads=4),
    "three heads share one": Size(heads=6, kv_heads=2, head_dim=16, hidden=96),
    "four heads share one": Size(heads=8, kv_heads=2, head_dim=8),
    "heads wider than the state": Size(head_dim=24),
    "width 2": Size(width=2),
    "width 4": Size(width=4),
    "width 5": Size((CONV, CONV, ATTENTION, CONV), width=5),
    "a head of its own": Size(tied=False),
    "with biases": Size(conv_bias=True),
    "odd widths": Size(hidden=72, heads=3, kv_heads=3, head_dim=10, ffn=50, vocab=291),
}


def load(model_dir: Path, *, num_threads: int = 1, norm_eps: float = 1e-5) -> RuntimeModel:
    """Return the runtime's model of a directory."""
    return RuntimeModel(model_dir / "model.bin", norm_eps=norm_eps, num_threads=num_threads)


def some_ids(model: RuntimeModel, count: int, seed: int = 0) -> Ids:
    """Return random token ids of a model."""
    return np.random.default_rng(seed).integers(0, model.vocab_size, count, dtype=np.int32)


def session_of(model: RuntimeModel, ids: Ids, *, kv: KvType = "float32") -> RuntimeSession:
    """Return a session that read `ids` in one call."""
    session = model.session(context_tokens=2048, kv=kv)
    if len(ids):
        model.advance([session], [ids])
    return session


def logits_of(model: RuntimeModel, ids: Ids, *, kv: KvType = "float32") -> npt.NDArray[np.float32]:
    """Return (T, vocab_size): the logits after every token, in one call."""
    return model.advance([model.session(context_tokens=2048, kv=kv)], [ids], want="all_logits")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of `a` with that of `b`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    dots = (a * b).sum(axis=-1)
    return np.asarray(dots / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))


class QuantizedMatrix:
    """A matrix whose left operand is rounded to 8 bits in groups, as the runtime rounds it; all else is float64."""

    __array_ufunc__ = None  # so that an array on the left asks this class

    def __init__(self, weight: np.ndarray) -> None:
        self.weight = weight.astype(np.float64)

    @property
    def T(self) -> QuantizedMatrix:  # noqa: N802
        return self

    def astype(self, dtype: object) -> QuantizedMatrix:
        return self

    def __getitem__(self, rows: list[int]) -> np.ndarray:
        return np.asarray(self.weight[rows])

    def __rmatmul__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(rounded(x) @ self.weight.T)


def rounded(x: np.ndarray) -> np.ndarray:
    """Return x with each group of a row rounded to 255 steps of its largest entry."""
    padded = np.zeros((len(x), -(-x.shape[1] // GROUP) * GROUP))
    padded[:, : x.shape[1]] = x
    groups = padded.reshape(len(x), -1, GROUP)
    scale = np.abs(groups).max(axis=-1, keepdims=True) / 127
    steps = np.rint(groups / np.where(scale > 0, scale, 1))
    return np.asarray((steps * scale).reshape(padded.shape)[:, : x.shape[1]])


def emulated_logits(path: Path, ids: Iterable[int], in_features: Mapping[str, int]) -> np.ndarray:
    """Return the (T, vocab_size) logits of a quantized LFM2 file by the runtime's integer arithmetic, in float64."""
    stored = lfm2_numpy.read_model_bin(path).variables
    weights = lfm2_numpy.weights_of(path, in_features)
    aliases = lfm2_numpy.read_model_bin(path).aliases
    quantized = {
        name: QuantizedMatrix(array)
        for name, array in weights.items()
        if f"{aliases.get(name, name)}_scale" in stored or f"{name.rpartition('/')[0]}/qweight" in stored
    }
    assert len(quantized) > 5
    return lfm2_numpy.logits(weights | quantized, list(ids))  # type: ignore[arg-type]


def write_model_bin(path: Path, model: ModelBin, *, version: int = 6, tail: bytes = b"") -> Path:
    """Write what `read_model_bin` read, or a changed copy of it."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    parts = [struct.pack("<I", version), _text(model.spec_name), struct.pack("<I", 1)]
    parts.append(struct.pack("<I", len(model.variables)))
    for name, array in model.variables.items():
        parts += [_text(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", kinds[array.dtype.name], array.nbytes), array.tobytes()]
    parts.append(struct.pack("<I", len(model.aliases)))
    parts += [_text(text) for pair in model.aliases.items() for text in pair]
    path.write_bytes(b"".join(parts) + tail)
    return path


def _text(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def pieces(ids: Ids, lengths: Sequence[int]) -> list[Ids]:
    """Cut `ids` into parts of these lengths, the last one takes the rest."""
    return [part for part in np.split(ids, np.cumsum(lengths)) if len(part)]
