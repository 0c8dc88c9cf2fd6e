"""The best of what each node of a subgraph is linked with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["neighbour_maxima"]

Floats = npt.NDArray[np.float32]


def neighbour_maxima(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    groups: npt.NDArray[np.uint8],
    values: Floats,
    *,
    num_groups: int,
) -> Floats:
    """Return for each node and group of links the largest of its neighbours' values and 0.

    Args:
        indptr: (n + 1,) int64; row i holds the links of node i.
        indices: (nnz,) int32 in [0, n).
        groups: (nnz,) uint8, the group of each link; one of num_groups or more counts nowhere.
        values: (n, num_values) float32, finite.
        num_groups: in [1, 256].

    Returns:
        (n, num_groups, num_values) float32.

    Raises:
        ValueError: malformed rows, a wrong dtype or shape, a number out of range or not finite.
    """
    return core.neighbour_maxima(indptr, indices, groups, values, num_groups)
