"""Which older nodes the vectors of a batch of documents lie near to, those of the same batch included."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from ruvllm.config import LinkingConfig
from ruvllm.memory.nearest import Nearest

__all__ = ["Neighbours", "Similar"]

BLOCK_ROWS = 512  # compared at a time with those before them, however many one document has

Similar = list[list[tuple[int, float]]]
"""By row of a batch: (node, cosine) of the neighbours, the nearest first; ~row stands for a node of the batch."""


class Neighbours:
    """Finds neighbours above a cosine for SameTopic links."""

    def __init__(self, nearest: Nearest, project: Callable[[np.ndarray], np.ndarray], config: LinkingConfig) -> None:
        self._nearest = nearest
        self._project = project
        self._config = config

    def of_batch(self, native: np.ndarray, sizes: Sequence[int], replaced: Collection[int]) -> Similar:
        """Return the neighbours of every row among stored nodes and the documents before its own.

        Args:
            native: (n, native_dim) float32, unit length.
            sizes: how many of the rows each document has, n in all.
            replaced: the nodes of the documents' old versions, which are passed over.
        """
        k = self._config.neighbours if self._config.same_topic < 1.0 else 0
        if not k:
            return [[] for _ in native]
        vectors = self._project(native)
        stored, stored_cosines = self._nearest.search_batch(vectors, 2 * k if replaced else k)
        stored_cosines = np.where(np.isin(stored, list(replaced)), -np.inf, stored_cosines)
        halves = vectors.astype(np.float16).astype(np.float32)  # as they will be searched once they are stored
        first = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)  # row at which each row's document begins
        found: Similar = [[] for _ in native]
        for start in range(0, len(vectors), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            before = np.arange(first[rows][-1])
            within = np.where(before < first[rows, None], vectors[rows] @ halves[: len(before)].T, -np.inf)
            nodes = np.hstack([stored[rows], np.broadcast_to(~before, within.shape)])
            cosines = np.minimum(np.hstack([stored_cosines[rows], within]), 1.0)
            for row, column in np.argwhere(cosines >= self._config.same_topic).tolist():
                found[start + row].append((int(nodes[row, column]), float(cosines[row, column])))
        return [sorted(near, key=lambda one: -one[1])[:k] for near in found]
