"""An HNSW index that is handed many vectors at once: until a thread has inserted them, they are searched exactly."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np

from ruvllm.memory.index import ADD_SLICE, HnswIndex

__all__ = ["BackgroundIndex"]

logger = logging.getLogger(__name__)


class BackgroundIndex:
    """Adds in a thread of its own, one call's vectors at a time. One thread may change it at a time, any may search.

    Args:
        index: is not used by anybody else from now on.
        num_threads: to insert with.
    """

    def __init__(self, index: HnswIndex, num_threads: int) -> None:
        self._index = index
        self._num_threads = num_threads
        self._inserting: threading.Thread | None = None
        self._waiting = _nothing(index.dim)  # labels and vectors; those being inserted are among them

    def __len__(self) -> int:
        """How many live vectors are inserted."""
        return len(self._index)

    @property
    def tombstones(self) -> float:
        """Share of entries that are deleted but still part of the graph."""
        return self._index.tombstones

    @property
    def changes(self) -> int:
        """Entries added or removed since the last save or load."""
        return self._index.changes

    def add(self, labels: np.ndarray, vectors: np.ndarray) -> None:
        """Take in (n, dim) float32 unit vectors under new labels, once those of the call before are inserted."""
        self.settle()
        if not len(self._waiting[0]) and len(labels) <= ADD_SLICE:
            self._index.add(labels, vectors)
            return
        self._waiting = np.concatenate([self._waiting[0], labels]), np.concatenate([self._waiting[1], vectors])
        self._inserting = threading.Thread(target=self._insert, name="ruvllm-insert", daemon=True)
        self._inserting.start()

    def _insert(self) -> None:
        try:
            self._index.add(*self._waiting, num_threads=self._num_threads)
            self._waiting = _nothing(self._index.dim)
        except Exception:
            logger.exception("%d vectors could not be inserted; they are searched exactly", len(self._waiting[0]))

    def remove(self, labels: list[int]) -> None:
        """Take vectors out of every later answer; unknown and removed labels are passed over."""
        self.settle()
        kept = ~np.isin(self._waiting[0], labels)
        self._waiting = self._waiting[0][kept], self._waiting[1][kept]
        self._index.remove(labels)

    def settle(self) -> None:
        """Wait until all vectors are inserted."""
        if self._inserting is not None:
            self._inserting.join()

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return labels (int64) and cosines (float32) of the nearest vectors, closest first, at most `k` of them."""
        labels, cosines = self.search_batch(query, k)
        found = cosines[0] > -np.inf
        return labels[0][found], cosines[0][found]

    def search_batch(self, queries: np.ndarray, k: int, *, num_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return (q, k') labels and cosines for (q, dim) or (dim,) `queries`, k' <= k; -inf where there is no more."""
        waiting, vectors = self._waiting  # read first: what is inserted meanwhile is found twice rather than never
        labels, cosines = self._index.search_batch(queries, k, num_threads=num_threads)
        if not len(waiting):
            return labels, cosines
        exact = np.atleast_2d(queries) @ vectors.T
        cosines = np.hstack([np.where(np.isin(labels, waiting), -np.inf, cosines), exact])
        labels = np.hstack([labels, np.broadcast_to(waiting, exact.shape)])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(labels, best, axis=1), np.take_along_axis(cosines, best, axis=1)

    def save(self, base: Path, *, embedder_id: str) -> None:
        """Write what is inserted to `base`.hnsw and `base`.json."""
        self._index.save(base, embedder_id=embedder_id)


def _nothing(dim: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(0, np.int64), np.empty((0, dim), np.float32)
