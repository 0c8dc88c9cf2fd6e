"""Maxima over neighbours by group, against a loop over the links."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.kernels import neighbour_maxima

I, J, B, F = np.int64, np.int32, np.uint8, np.float32  # noqa: E741


@pytest.mark.parametrize(("n", "nnz", "num_values", "num_groups"), [(1, 0, 1, 1), (7, 3, 3, 2), (50, 400, 2, 8)])
def test_maxima_are_those_of_a_loop(n: int, nnz: int, num_values: int, num_groups: int) -> None:
    rng = np.random.default_rng(n)
    rows, indices = np.sort(rng.integers(0, n, nnz)), rng.integers(0, n, nnz).astype(J)
    groups = rng.integers(0, num_groups + 2, nnz).astype(B)  # two of them are not counted
    values = rng.standard_normal((n, num_values), dtype=F)
    indptr = np.searchsorted(rows, np.arange(n + 1)).astype(I)
    expected = np.zeros((n, num_groups, num_values), F)
    for row, neighbour, group in zip(rows, indices, groups, strict=True):
        if group < num_groups:
            expected[row, group] = np.maximum(expected[row, group], values[neighbour])
    np.testing.assert_array_equal(neighbour_maxima(indptr, indices, groups, values, num_groups=num_groups), expected)


GOOD: dict[str, object] = {
    "indptr": np.array([0, 1, 2], I),
    "indices": np.array([1, 0], J),
    "groups": np.zeros(2, B),
    "values": np.ones((2, 1), F),
    "num_groups": 1,
}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"indptr": np.array([0, 2], I)}, ValueError, r"indptr must have 3 entries \(2\)"),
        ({"indptr": np.array([0, 3, 2], I)}, ValueError, "indptr must ascend"),
        ({"indices": np.array([1, 2], J)}, ValueError, r"indices\[1\] must be in \[0, 2\) \(2\)"),
        ({"groups": np.zeros(3, B)}, ValueError, r"groups must have 2 entries \(3\)"),
        ({"groups": [0, 0]}, TypeError, "groups must be a numpy array"),
        ({"values": np.ones(2, F)}, ValueError, "values must"),
        ({"values": np.array([[1], [np.nan]], F)}, ValueError, "values must be finite: entry 1"),
        ({"num_groups": 0}, ValueError, r"num_groups must be in \[1, 256\] \(0\)"),
        ({"num_groups": 257}, ValueError, r"num_groups must be in \[1, 256\] \(257\)"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        neighbour_maxima(**GOOD | change)  # type: ignore[arg-type]
