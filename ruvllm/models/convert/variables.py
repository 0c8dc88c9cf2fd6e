"""Weights on their way into a CTranslate2 specification: read, quantized and dropped as the file is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from ctranslate2.specs import common_spec, model_spec

from ruvllm.models.convert.checkpoint import Matrix
from ruvllm.models.convert.int4 import GROUP_SIZE, quantize_int4

__all__ = ["Int4LinearSpec", "fill", "linear", "scalar"]

_BLOCK_VALUES = 1 << 18  # float32 values that are quantized at a time


class Int4LinearSpec(model_spec.LayerSpec):
    """A linear layer in 4 bits (see `Int4`); no attribute has a `_scale` beside it, so CTranslate2 leaves it alone."""

    def __init__(self) -> None:
        self.qweight: Any = None
        self.qscales: Any = None
        self.bias = model_spec.OPTIONAL


def linear(matrix: Matrix, quantization: str, bias: np.ndarray | None = None) -> Any:
    """Return a linear layer of a CTranslate2 specification."""
    layer: Any
    if quantization == "int4":
        layer = Int4LinearSpec()
        rows, groups = matrix.shape[0], -(-matrix.shape[1] // GROUP_SIZE)
        load = _Pass(lambda: _int4(matrix))
        layer.qweight = Deferred((rows, groups * GROUP_SIZE // 2), "int8", partial(load, "codes"))
        layer.qscales = Deferred((rows, groups), "float16", partial(load, "scales"))
    else:
        layer = common_spec.LinearSpec()
        fill(layer, matrix, quantization)
    if bias is not None:
        layer.bias = bias
    return layer


def fill(layer: Any, matrix: Matrix, quantization: str) -> None:
    """Give a linear or embedding layer its weight in float32, or in int8 under any other quantization."""
    if quantization == "float32":
        layer.weight = Deferred(matrix.shape, "float32", matrix.read)
        return
    load = _Pass(lambda: _int8(matrix))
    layer.weight = Deferred(matrix.shape, "int8", partial(load, "weight"))
    layer.weight_scale = Deferred(matrix.shape[:1], "float32", partial(load, "weight_scale"))


def scalar(value: float) -> np.generic:
    """Return a number in the type that CTranslate2 can write: int32 or float32."""
    return np.int32(value) if isinstance(value, int) else np.float32(value)


class Deferred(model_spec.Variable):
    """An array whose shape and type are known now and whose values are made when the file is written.

    It equals only itself: a tied head that shares it becomes an alias, and no matrix is read to compare it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, load: Callable[[], np.ndarray]) -> None:
        self._shape = shape
        self._dtype = dtype
        self._load = load

    @property
    def shape(self) -> list[int]:
        return list(self._shape)

    @property
    def dtype(self) -> str:
        return self._dtype

    def numpy(self) -> np.ndarray:
        return self._load()

    def num_bytes(self) -> int:
        return int(np.prod(self._shape)) * np.dtype(self._dtype).itemsize

    def to_bytes(self) -> memoryview:
        array = self._load()
        assert (array.shape, array.dtype) == (self._shape, np.dtype(self._dtype))
        return np.ascontiguousarray(array).data

    def _to(self, dtype: str) -> model_spec.Variable:
        raise NotImplementedError  # its type was chosen when it was made

    def _equal(self, other: model_spec.Variable) -> bool:
        return self is other


class _Pass:
    """The variables of one layer from one pass over its weights; each is dropped when it is handed out.

    The file's order (X/weight, X/weight_scale) puts them next to each other, so only one layer is in memory.
    """

    def __init__(self, make: Callable[[], dict[str, np.ndarray]]) -> None:
        self._make = make
        self._made: dict[str, np.ndarray] = {}

    def __call__(self, name: str) -> np.ndarray:
        if name not in self._made:
            self._made = self._make()
        return self._made.pop(name)


def _int8(matrix: Matrix) -> dict[str, np.ndarray]:
    """Return "weight" and "weight_scale" as CTranslate2 quantizes them, each row on its own."""
    values = matrix.read()
    codes, scales = np.empty(values.shape, np.int8), np.empty(len(values), np.float32)
    for rows in _row_blocks(matrix.shape):
        layer = common_spec.LinearSpec()
        layer.weight = values[rows]  # CTranslate2 scales it in place
        layer.validate()
        layer.optimize("int8")
        codes[rows], scales[rows] = layer.weight.numpy(), layer.weight_scale.numpy()
    return {"weight": codes, "weight_scale": scales}


def _int4(matrix: Matrix) -> dict[str, np.ndarray]:
    """Return the stored "codes" and "scales" of a matrix that has them, ours otherwise."""
    return (matrix.read_int4() or quantize_int4(matrix.read()))._asdict()


def _row_blocks(shape: tuple[int, int]) -> Iterator[slice]:
    step = max(1, _BLOCK_VALUES // shape[1])
    return (slice(start, start + step) for start in range(0, shape[0], step))
