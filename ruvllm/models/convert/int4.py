"""Symmetric 4-bit weights: groups of 32 along a row, one float16 scale a group, 4.5 bits a weight.

The grid is that of llama.cpp's Q4_0: a weight is (code - 8) * scale with codes 0 .. 15.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["GROUP_SIZE", "Int4", "dequantize_int4", "quantize_int4"]

Floats = npt.NDArray[np.float32]

GROUP_SIZE = 32
_ZERO = 8
_TRIALS = (-7.0, -7.4, -7.8, -8.2, -8.6, -9.0)  # where the largest value may fall beside the grid's end, -8
_BLOCK_GROUPS = 2048  # groups at a time: their trials stay in the second-level cache
_TINY = 1e-30
_LARGEST_SCALE = np.float32(np.finfo(np.float16).max)


class Int4(NamedTuple):
    """A (rows, columns) matrix; a row has ceil(columns / 32) groups, the last one filled up with zeros.

    Attributes:
        codes: (rows, 16 * groups) int8, two codes a byte: byte j of a group holds element j in its low half and
            element j + 16 in its high half.
        scales: (rows, groups) float16.
    """

    codes: np.ndarray
    scales: np.ndarray


def quantize_int4(weight: np.ndarray) -> Int4:
    """Return `weight`, (rows, columns) float32 and finite, on the grid of least squared error that was tried.

    Each group tries a few scales that put its largest value near -8; for the codes of a trial the best scale is
    sum(code * x) / sum(code^2), and the trial that explains most of the group wins. Its scale is rounded to float16
    and the codes are taken once more, for the scale that is stored. Weights beyond 8 * 65504 saturate.

    Source: `make_qx_quants` in llama.cpp's ggml-quants.c, with equal importance for every weight.
    """
    rows, columns = weight.shape
    num_groups = -(-columns // GROUP_SIZE)
    codes = np.empty((rows * num_groups, GROUP_SIZE // 2), np.uint8)
    scales = np.empty(rows * num_groups, np.float16)
    rows_at_once = max(1, _BLOCK_GROUPS // num_groups)
    for row in range(0, rows, rows_at_once):
        block = weight[row : row + rows_at_once]
        if columns % GROUP_SIZE:
            block = np.pad(block, ((0, 0), (0, -columns % GROUP_SIZE)))
        groups = np.ascontiguousarray(block.reshape(-1, GROUP_SIZE).T)  # (32, n): sums over a group add whole rows
        at = slice(row * num_groups, row * num_groups + groups.shape[1])
        scales[at] = _best_scales(groups)
        codes[at] = _packed(_grid(groups, _inverse(scales[at].astype(np.float32))))
    return Int4(codes.reshape(rows, -1).view(np.int8), scales.reshape(rows, num_groups))


def dequantize_int4(matrix: Int4, columns: int) -> np.ndarray:
    """Return the (rows, columns) float32 weights that `matrix` stands for."""
    packed = matrix.codes.view(np.uint8).reshape(*matrix.scales.shape, GROUP_SIZE // 2)
    codes = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32) - _ZERO
    weight = codes * matrix.scales[..., None].astype(np.float32)
    return np.ascontiguousarray(weight.reshape(len(weight), -1)[:, :columns])


def _best_scales(groups: Floats) -> Floats:
    largest: Floats = np.take_along_axis(groups, np.abs(groups).argmax(axis=0)[None], axis=0)[0]
    inverse = _inverse(largest)
    best, scales = np.zeros_like(largest), np.zeros_like(largest)
    for end in _TRIALS:
        grid = _grid(groups, np.float32(end) * inverse)
        dot, square = np.einsum("gn,gn->n", grid, groups), np.einsum("gn,gn->n", grid, grid)
        scale = dot * _inverse(square)
        better = dot * scale > best  # what the trial explains of the group's sum of squares
        scales[better], best[better] = scale[better], (dot * scale)[better]
    scales.clip(-_LARGEST_SCALE, _LARGEST_SCALE, out=scales)
    return scales


def _grid(groups: Floats, inverse_scales: Floats) -> Floats:
    grid: Floats = groups * inverse_scales
    np.rint(grid, out=grid)
    np.clip(grid, -_ZERO, 15 - _ZERO, out=grid)
    return grid


def _inverse(values: Floats) -> Floats:
    """Return 1 / values, and 0 where that would overflow: such a scale is 0 in float16 too."""
    return np.divide(1, values, out=np.zeros_like(values), where=np.abs(values) > _TINY)


def _packed(grid: Floats) -> npt.NDArray[np.uint8]:
    codes, half = (grid + _ZERO).astype(np.uint8), GROUP_SIZE // 2
    return (codes[:half] | codes[half:] << np.uint8(4)).T
