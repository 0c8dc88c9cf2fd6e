"""What a converted LFM2 file means: a reader of model.bin, and the forward pass over its variables in plain numpy."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ruvllm.models.convert.int4 import Int4, dequantize_int4

_DTYPES = ("f4", "i1", "i2", "i4", "f2")


class ModelBin(NamedTuple):
    """The content of a model.bin: every variable as it is stored, and alias -> target."""

    spec_name: str
    variables: dict[str, np.ndarray]
    aliases: dict[str, str]


def read_model_bin(path: Path) -> ModelBin:
    """Read a CTranslate2 model.bin (binary version 6) to its last byte."""
    raw, at = path.read_bytes(), 0

    def take(layout: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + layout, raw, at)
        at += struct.calcsize("<" + layout)
        return int(value)

    def text() -> str:
        nonlocal at
        length = take("H")  # the closing NUL included
        at += length
        return raw[at - length : at - 1].decode()

    assert take("I") == 6
    spec_name, _revision = text(), take("I")
    variables = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        dtype, size = np.dtype("<" + _DTYPES[take("B")]), take("I")
        variables[name] = np.frombuffer(raw, dtype, size // dtype.itemsize, at).reshape(shape)
        at += size
    aliases = {text(): text() for _ in range(take("I"))}
    assert at == len(raw)
    return ModelBin(spec_name, variables, aliases)


def weights_of(path: Path, in_features: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Return name -> float32 weight or setting, dequantized, aliases resolved.

    Args:
        in_features: the width of int4 layers by name, where it is no multiple of 32.
    """
    _, stored, aliases = read_model_bin(path)
    weights = {}
    for name, array in stored.items():
        layer, _, part = name.rpartition("/")
        if part == "qweight":
            scales = stored[f"{layer}/qscales"]
            columns = (in_features or {}).get(layer, 32 * scales.shape[1])
            weights[f"{layer}/weight"] = dequantize_int4(Int4(array, scales), columns)
        elif f"{name}_scale" in stored:
            weights[name] = array.astype(np.float32) / stored[f"{name}_scale"][:, None]
        elif not name.endswith(("_scale", "qscales")):
            weights[name] = array
    return weights | {alias: weights[target] for alias, target in aliases.items()}


def logits(variables: Mapping[str, np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """Return the (T, vocab) float64 logits of an LFM2 model; `variables` is what `weights_of` returns."""
    return hidden_states(variables, ids) @ variables["projection/weight"].astype(np.float64).T


def hidden_states(variables: Mapping[str, np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """Return the (T, hidden) float64 hidden states after the final norm."""
    w = {name: array.astype(np.float64) for name, array in variables.items()}
    x = w["embeddings/weight"][list(ids)]
    num_layers = len({name.partition("/")[0] for name in w if name.startswith("layer_")})
    for i in range(num_layers):
        at = f"layer_{i}"
        n = _norm(w, x, f"{at}/operator_norm")
        block = _attention if f"{at}/self_attention/linear_q/weight" in w else _short_conv
        x = x + block(w, n, at)
        n = _norm(w, x, f"{at}/ffn_norm")
        gate, up = n @ w[f"{at}/ffn_w1/weight"].T, n @ w[f"{at}/ffn_w3/weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{at}/ffn_w2/weight"].T
    return _norm(w, x, "output_norm")


def _norm(w: Mapping[str, np.ndarray], x: np.ndarray, name: str) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + w["norm_eps"]) * w[f"{name}/gamma"]


def _linear(w: Mapping[str, np.ndarray], x: np.ndarray, name: str) -> np.ndarray:
    return x @ w[f"{name}/weight"].T + w.get(f"{name}/bias", np.float64(0))


def _short_conv(w: Mapping[str, np.ndarray], n: np.ndarray, at: str) -> np.ndarray:
    b, c, z = np.split(_linear(w, n, f"{at}/short_conv/in_proj"), 3, axis=-1)
    taps = w[f"{at}/short_conv/conv/weight"][:, 0]  # (hidden, width), the last one meets the present token
    width = taps.shape[1]
    u = np.concatenate([np.zeros((width - 1, n.shape[1])), b * z])
    y = sum(u[j : j + len(n)] * taps[:, j] for j in range(width)) + w.get(f"{at}/short_conv/conv/bias", 0.0)
    return _linear(w, c * y, f"{at}/short_conv/out_proj")


def _attention(w: Mapping[str, np.ndarray], n: np.ndarray, at: str) -> np.ndarray:
    at = f"{at}/self_attention"
    length, head_dim = len(n), int(w["head_dim"])
    q, k, v = (_linear(w, n, f"{at}/linear_{part}").reshape(length, -1, head_dim) for part in "qkv")
    q, k = (_rope(w, _norm(w, heads, f"{at}/{part}_norm")) for heads, part in ((q, "q"), (k, "k")))
    k, v = (np.repeat(heads, q.shape[1] // k.shape[1], axis=1) for heads in (k, v))  # contiguous groups
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(head_dim)
    scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    attended = np.einsum("hts,shd->thd", e / e.sum(-1, keepdims=True), v)
    return _linear(w, attended.reshape(length, -1), f"{at}/linear_out")


def _rope(w: Mapping[str, np.ndarray], heads: np.ndarray) -> np.ndarray:
    head_dim = heads.shape[-1]
    frequencies = w["rotary_base"] ** (-np.arange(0, head_dim, 2) / head_dim)
    angle = (np.arange(len(heads))[:, None] * frequencies)[:, None]
    a, b = np.split(heads, 2, axis=-1)
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=-1)
