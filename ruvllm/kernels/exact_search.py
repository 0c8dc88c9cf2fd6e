"""The rows with the largest inner products, exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["exact_search", "require_finite_rows"]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def exact_search(
    vectors: Floats, queries: Floats, k: int, *, rows: Labels | None = None, num_threads: int = 1
) -> tuple[Labels, Floats]:
    """Return the `k` rows of `vectors` with the largest inner product with each query, best first.

    Of equal scores the lower row comes first. The result is the same, bit for bit, for any `num_threads` and whether
    queries come alone or together.

    Args:
        vectors: (n, dim) float32, finite (see `require_finite_rows`: not checked here); unit rows make scores cosines.
            At most 2^31 - 1 of them.
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
        labels, scores = core.exact_search(vectors, queries[np.newaxis], k, rows, num_threads)
        return labels[0], scores[0]
    return core.exact_search(vectors, queries, k, rows, num_threads)


def require_finite_rows(vectors: Floats) -> None:
    """Raise ValueError naming the first row of `vectors`, (n, dim) float32, that holds a NaN or an infinity.

    Bulk arrays pass through here once, when they enter; this runs at memory speed.
    """
    core.require_finite_rows(vectors)
