"""A bad student: a real model, some of whose weights were shuffled."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np


def plant(model_dir: Path, out: Path, *, layers: range) -> Path:
    """Copy a converted model to `out` with the rows of the last feed-forward matrix of `layers` in another order."""
    shutil.copytree(model_dir, out)
    raw = bytearray((out / "model.bin").read_bytes())
    for layer in layers:
        start, shape, size = _find(raw, f"decoder/layer_{layer}/ffn/linear_1/weight")
        rows = np.frombuffer(raw, np.uint8, size, start).reshape(shape[0], -1)
        raw[start : start + size] = np.random.default_rng(layer).permutation(rows).tobytes()
    (out / "model.bin").write_bytes(raw)
    return out


def _find(raw: bytearray, name: str) -> tuple[int, tuple[int, ...], int]:
    """Return where the data of a variable begins, its shape and its size: rank, dimensions, type and bytes follow the
    name."""
    at = raw.index(name.encode() + b"\0") + len(name) + 1
    rank = raw[at]
    shape = struct.unpack_from(f"<{rank}I", raw, at + 1)
    at += 1 + 4 * rank
    (size,) = struct.unpack_from("<I", raw, at + 1)
    return at + 5, shape, size
