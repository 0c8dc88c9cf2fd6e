"""Which older nodes the vectors of a batch of documents lie near to, those of the same batch included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ruvllm.config import LinkingConfig
from ruvllm.memory.nearest import Nearest

__all__ = ["Neighbours", "NeighboursOfBatch"]

Similar = list[list[tuple[int, float]]]


class Neighbours:
    """Finds neighbours above a cosine for SameTopic links."""

    def __init__(self, nearest: Nearest, project: Callable[[np.ndarray], np.ndarray], config: LinkingConfig) -> None:
        self._nearest = nearest
        self._project = project
        self._config = config

    def of_batch(self, native: np.ndarray) -> NeighboursOfBatch:
        """Return the neighbours of a batch's vectors, (n, native_dim) float32, by rows, for `older_than`."""
        k = self._config.neighbours if self._config.same_topic < 1.0 else 0
        if not k or not len(native) or not np.isfinite(native).all():
            return NeighboursOfBatch(np.empty((len(native), 0), np.int64), np.empty((len(native), 0)), None, 1.0, 0)
        vectors = self._project(native)
        ids, cosines = self._nearest.search_batch(vectors, k)
        return NeighboursOfBatch(ids, cosines, vectors, self._config.same_topic, k)


class NeighboursOfBatch:
    """Neighbours among older nodes, and among those of the batch that are stored."""

    def __init__(self, ids: np.ndarray, cosines: np.ndarray, vectors: np.ndarray | None, least: float, k: int) -> None:
        self._found = ids, cosines
        self._vectors = vectors
        self._least, self._k = least, k
        self._ids = np.zeros(len(ids), np.int64)  # of the rows that are stored already, else 0

    def older_than(self, rows: slice) -> Similar:
        """Return (node id, cosine) of each row's neighbours among older nodes, the nearest first."""
        ids, cosines = self._found[0][rows], self._found[1][rows]
        if self._vectors is not None and rows.start:
            before = np.flatnonzero(self._ids[: rows.start])
            within = self._vectors[rows] @ self._vectors[before].T
            ids = np.hstack([ids, np.broadcast_to(self._ids[before], within.shape)])
            cosines = np.hstack([cosines, within])
        return [self._nearest_of(*row) for row in zip(ids, cosines, strict=True)]

    def _nearest_of(self, ids: np.ndarray, cosines: np.ndarray) -> list[tuple[int, float]]:
        near = np.flatnonzero(cosines >= self._least)
        best = near[np.argsort(-cosines[near], kind="stable")][: self._k]
        return [(int(ids[i]), float(cosines[i])) for i in best]

    def stored(self, rows: slice, ids: Sequence[int]) -> None:
        """Take in the node ids of rows that were committed."""
        self._ids[rows] = ids
