"""Which older nodes the vectors of a batch of documents lie near to, those of the same batch included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ruvllm.config import LinkingConfig
from ruvllm.memory.nearest import Nearest

__all__ = ["Neighbours", "Similar"]

Similar = list[list[tuple[int, float]]]
"""By row of a batch: (node, cosine) of the neighbours, the nearest first; ~row stands for a node of the batch."""


class Neighbours:
    """Finds neighbours above a cosine for SameTopic links."""

    def __init__(self, nearest: Nearest, project: Callable[[np.ndarray], np.ndarray], config: LinkingConfig) -> None:
        self._nearest = nearest
        self._project = project
        self._config = config

    def of_batch(self, native: np.ndarray, sizes: Sequence[int]) -> Similar:
        """Return the neighbours of every row among stored nodes and the documents before its own.

        Args:
            native: (n, native_dim) float32, unit length.
            sizes: how many of the rows each document has, n in all.
        """
        k = self._config.neighbours if self._config.same_topic < 1.0 else 0
        if not k:
            return [[] for _ in native]
        vectors = self._project(native)
        stored, stored_cosines = self._nearest.search_batch(vectors, k)
        rows = np.arange(len(vectors))
        first = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)  # row at which each row's document begins
        within = np.where(rows < first[:, None], vectors @ vectors.T, -np.inf)
        nodes = np.hstack([stored, np.broadcast_to(~rows, within.shape)])
        cosines = np.hstack([stored_cosines, within])
        found: Similar = [[] for _ in native]
        for row, column in np.argwhere(cosines >= self._config.same_topic).tolist():
            found[row].append((int(nodes[row, column]), float(cosines[row, column])))
        return [sorted(near, key=lambda one: -one[1])[:k] for near in found]
