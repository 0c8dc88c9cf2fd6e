"""Personalised PageRank over a subgraph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["pagerank"]

Floats = npt.NDArray[np.float32]


def pagerank(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    weights: Floats,
    restart: Floats,
    *,
    damping: float = 0.85,
    tolerance: float = 1e-4,
    max_iterations: int = 100,
    stay: float = 0.0,
    types: npt.NDArray[np.uint8] | None = None,
    type_weights: Floats | None = None,
) -> tuple[Floats, int]:
    """Return the PageRank of every node, (n,) float32 summing to 1, and the iterations used.

    Power iteration from `restart` until two scores differ by less than `tolerance` in all (L1), or max_iterations. A
    node without out-links, or with none of positive weight, sends its score back to `restart`.

    Args:
        indptr: (n + 1,) int64; row i holds the out-links of node i.
        indices: (nnz,) int32 in [0, n).
        weights: (nnz,) float32, >= 0; each row is divided by its sum.
        restart: (n,) float32, >= 0, not all 0; divided by its sum.
        damping: in [0, 1), the chance of following a link.
        tolerance: > 0.
        max_iterations: in [1, 1 000 000].
        stay: >= 0, weight of one more link of every node, to itself.
        types: (nnz,) uint8; with `type_weights`, (num_types,) float32 >= 0, the factor of each type.

    Raises:
        ValueError: no nodes, a restart of zeros, malformed rows, a number out of range or not finite.

    Source: Page, Brin, Motwani and Winograd 1999; Haveliwala 2002 for the restart vector.
    """
    return core.pagerank(
        indptr, indices, weights, restart, damping, tolerance, max_iterations, stay, types, type_weights
    )
