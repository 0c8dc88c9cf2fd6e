"""Tensors of a Hugging Face folder, read from the safetensors bytes themselves: bfloat16 needs no PyTorch."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.errors import ModelDamaged, ModelUnsupported

__all__ = ["SafetensorsFolder"]

_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True, slots=True)
class _Entry:
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


class SafetensorsFolder:
    """A `TensorSource` over model.safetensors or the shards that model.safetensors.index.json lists."""

    def __init__(self, folder: Path, *, model: str) -> None:
        """Read the headers.

        Raises:
            ModelDamaged: a shard is missing, truncated, or its header is not safetensors.
            ModelUnsupported: the folder holds no safetensors.
        """
        self._model = model
        self.files = _shards(folder, model)
        self._entries: dict[str, _Entry] = {}
        for file in self.files:
            self._entries |= _read_header(file, model)

    def names(self) -> Collection[str]:
        return self._entries.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def read(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        if entry.dtype not in _ITEM_BYTES:
            raise ModelUnsupported(f"{self._model}: tensor {name} has dtype {entry.dtype}", model=self._model)
        count = int(np.prod(entry.shape))
        stored = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[entry.dtype]
        raw = np.fromfile(entry.file, dtype=stored, count=count, offset=entry.offset)
        if entry.dtype == "BF16":  # the upper half of a float32
            raw = raw.astype(np.uint32)
            raw <<= 16
            raw = raw.view(np.float32)
        return raw.astype(np.float32, copy=False).reshape(entry.shape)

    def read_int4(self, name: str) -> None:
        return None  # the format has no such type


def _shards(folder: Path, model: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelDamaged(f"{model}: {index.name} is not a shard index", model=model) from error
    else:
        names = ["model.safetensors"]
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            if index.is_file():
                raise ModelDamaged(f"{model}: shard {name} is missing", model=model)
            raise ModelUnsupported(f"{model}: {folder} holds no model.safetensors", model=model)
    return [folder / name for name in names]


def _read_header(file: Path, model: str) -> dict[str, _Entry]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise ModelDamaged(f"{model}: {file.name} is truncated or no safetensors file", model=model)
        try:
            header = json.loads(stream.read(length))
            items = [(name, value) for name, value in header.items() if name != "__metadata__"]
            return {name: _entry(file, name, value, 8 + length, size, model) for name, value in items}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelDamaged(f"{model}: the header of {file.name} is damaged: {error}", model=model) from error


def _entry(file: Path, name: str, value: dict[str, Any], start: int, size: int, model: str) -> _Entry:
    first, last = value["data_offsets"]
    shape = tuple(int(n) for n in value["shape"])
    if not 0 <= first <= last <= size - start:
        raise ModelDamaged(f"{model}: {file.name} is truncated: tensor {name} ends past the file", model=model)
    expected = int(np.prod(shape, dtype=np.int64)) * _ITEM_BYTES.get(value["dtype"], 0)
    if value["dtype"] in _ITEM_BYTES and expected != last - first:
        raise ModelDamaged(f"{model}: tensor {name} has {last - first} bytes, its shape {expected}", model=model)
    return _Entry(file, value["dtype"], shape, start + first, last - first)
