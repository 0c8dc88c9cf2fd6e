"""int4 weights: where every bit lies, and how far from the source they may be."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ruvllm.models.convert.int4 import Int4, dequantize_int4, quantize_int4

FLOAT16_EPS = 2.0**-11  # half a unit in the last place


def on_the_grid(rows: int, columns: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Codes 0 .. 15 with the grid's end in every group, and the weights that they mean."""
    codes = np.random.default_rng(0).integers(0, 16, (rows, columns))
    codes[:, ::32] = 0
    return codes, ((codes - 8) * scale).astype(np.float32)


def unpacked(matrix: Int4, row: int, column: int) -> int:
    """The code of one element, by the format's own words."""
    group, j = divmod(column, 32)
    byte = int(matrix.codes[row, 16 * group + j % 16]) & 0xFF
    return byte & 15 if j < 16 else byte >> 4


@pytest.mark.parametrize("columns", [32, 64, 96])
def test_weights_on_the_grid_keep_their_codes(columns: int) -> None:
    codes, weight = on_the_grid(5, columns, 0.25)
    matrix = quantize_int4(weight)
    assert matrix.codes.dtype == np.int8 and matrix.codes.shape == (5, columns // 2)
    assert matrix.scales.dtype == np.float16 and (matrix.scales == 0.25).all()
    assert [[unpacked(matrix, i, j) for j in range(columns)] for i in range(5)] == codes.tolist()


@pytest.mark.parametrize("columns", [1, 31, 33, 80])
def test_last_group_is_filled_up_with_zeros(columns: int) -> None:
    weight = np.random.default_rng(1).standard_normal((3, columns)).astype(np.float32)
    matrix = quantize_int4(weight)
    groups = -(-columns // 32)
    assert matrix.codes.shape == (3, 16 * groups) and matrix.scales.shape == (3, groups)
    assert all(unpacked(matrix, i, j) == 8 for i in range(3) for j in range(columns, 32 * groups))
    assert dequantize_int4(matrix, columns).shape == weight.shape


@given(arrays(np.float32, (2, 64), elements=st.floats(-1e4, 1e4, width=32)))
def test_error_of_a_group_is_bounded(weight: np.ndarray) -> None:
    """The trial at -7 cuts nothing off: half a step for each of 32; then the scale is rounded to float16."""
    error = (dequantize_int4(quantize_int4(weight), 64) - weight).astype(np.float64).reshape(2, 2, 32)
    groups = weight.astype(np.float64).reshape(2, 2, 32)
    largest, norm = np.abs(groups).max(-1), np.linalg.norm(groups, axis=-1)
    smallest_scale = 2.0**-24  # of float16: below it everything is 0
    bound = np.sqrt(32) * (largest / 14 + 8 * smallest_scale) + FLOAT16_EPS * norm
    assert (np.linalg.norm(error, axis=-1) <= 1.0001 * bound).all()


def test_search_beats_the_largest_value_rule_by_a_tenth() -> None:
    weight = np.random.default_rng(2).standard_normal((64, 1024)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q4_0
    plain = gguf.dequantize(gguf.quantize(weight, kind), kind) - weight
    ours = dequantize_int4(quantize_int4(weight), 1024) - weight
    assert (ours**2).mean() < 0.9 * (plain**2).mean()


def test_any_number_of_rows_gives_the_same_rows() -> None:
    weight = np.random.default_rng(3).standard_normal((150, 1024)).astype(np.float32)
    whole = quantize_int4(weight)
    for row in (0, 63, 64, 149):
        alone = quantize_int4(weight[row : row + 1])
        assert (alone.codes == whole.codes[row]).all() and (alone.scales == whole.scales[row]).all()


@pytest.mark.parametrize("value", [0.0, 1e-40, 1e-9])
def test_what_float16_cannot_scale_becomes_zero(value: float) -> None:
    matrix = quantize_int4(np.full((1, 32), value, np.float32))
    assert (dequantize_int4(matrix, 32) == 0).all() and unpacked(matrix, 0, 0) == 8


def test_what_float16_cannot_reach_saturates() -> None:
    matrix = quantize_int4(np.full((1, 32), 1e6, np.float32))
    assert np.isfinite(dequantize_int4(matrix, 32)).all()
