"""The rows with the largest inner products, exactly."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["exact_search", "require_finite_rows", "widen_rows"]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]


def exact_search(
    vectors: Floats | Halves, queries: Floats, k: int, *, rows: Labels | None = None, num_threads: int = 1
) -> tuple[Labels, Floats]:
    """Return the `k` rows of `vectors` with the largest inner product with each query, best first.

    Of equal scores the lower row comes first. The result is the same, bit for bit, for any `num_threads` and whether
    queries come alone or together.

    Args:
        vectors: (n, dim) float32 or float16, finite (see `require_finite_rows`: not checked here); unit rows make
            scores cosines. At most 2^31 - 1 of them. Products and sums are float32 for both.
        queries: (q, dim) or (dim,) float32, finite.
        k: rows wanted, >= 1; fewer come back when fewer are searched.
        rows: (m,) int64, the rows to search; every row when None. A row named twice is found twice.
        num_threads: threads used at most, and never more than 256; the rows are split among them.

    Returns:
        labels (q, k') int64 and scores (q, k') float32 with k' = min(k, n or m); without the q for a (dim,) query.

    Raises:
        TypeError: an argument is not an array.
        ValueError: a wrong dtype, shape or order; k or num_threads below 1; a row out of range; a NaN in a query.
    """
    if isinstance(queries, np.ndarray) and queries.ndim == 1:
        labels, scores = exact_search(vectors, queries[np.newaxis], k, rows=rows, num_threads=num_threads)
        return labels[0], scores[0]
    if isinstance(vectors, np.ndarray) and vectors.dtype == np.float16:
        return core.exact_search_halves(vectors.view(np.uint16), queries, k, rows, num_threads)
    return core.exact_search(cast(Floats, vectors), queries, k, rows, num_threads)


def widen_rows(halves: Halves, rows: Labels) -> Floats:
    """Return the chosen rows of `halves`, (n, dim) float16, as (m, dim) float32, exactly.

    Args:
        rows: (m,) int64 in [0, n).

    Raises:
        TypeError: an argument is not an array.
        ValueError: a wrong dtype, shape or order; a row out of range.
    """
    if not isinstance(halves, np.ndarray):
        raise TypeError(f"halves must be a numpy array ({type(halves).__name__})")
    if halves.dtype != np.float16:
        raise ValueError(f"halves must have dtype float16 ({halves.dtype})")
    return core.widen_rows(halves.view(np.uint16), rows)


def require_finite_rows(vectors: Floats) -> None:
    """Raise ValueError naming the first row of `vectors`, (n, dim) float32, that holds a NaN or an infinity.

    Bulk arrays pass through here once, when they enter; this runs at memory speed.
    """
    core.require_finite_rows(vectors)
