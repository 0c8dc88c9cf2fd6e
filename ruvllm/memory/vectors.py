"""The exact float32 matrix: every searched vector in memory, found by row or by node id."""

from __future__ import annotations

import numpy as np

from ruvllm.kernels import exact_search
from ruvllm.memory.lock import ReadWriteLock
from ruvllm.memory.rows import as_unit_rows

__all__ = ["VectorMatrix"]


class VectorMatrix:
    """Unit vectors under node ids; rows stay dense (the last one fills a gap). Safe from several threads."""

    def __init__(self, dim: int, *, capacity: int = 256) -> None:
        self.dim = dim
        self._lock = ReadWriteLock()
        self._vectors = np.empty((max(capacity, 1), dim), np.float32)
        self._ids = np.empty(max(capacity, 1), np.int64)
        self._row_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, node_id: int) -> bool:
        return node_id in self._row_of

    def ids(self) -> np.ndarray:
        """Return the node ids, (n,) int64, ascending."""
        with self._lock.reading():
            return np.sort(self._ids[: len(self)])

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add (n, dim) float32 unit vectors under new ids; ids that are here already are passed over."""
        vectors = as_unit_rows(vectors, self.dim, "vectors")
        with self._lock.writing():
            new = [i for i, node_id in enumerate(ids.tolist()) if node_id not in self._row_of]
            if len(new) < len(ids):
                ids, vectors = ids[new], vectors[new]
            start, stop = len(self), len(self) + len(ids)
            self._reserve(stop)
            self._vectors[start:stop] = vectors
            self._ids[start:stop] = ids
            self._row_of.update(zip(ids.tolist(), range(start, stop), strict=True))

    def _reserve(self, count: int) -> None:
        if count > len(self._ids):
            capacity = max(count, int(len(self._ids) * 1.5))
            vectors, ids = np.empty((capacity, self.dim), np.float32), np.empty(capacity, np.int64)
            vectors[: len(self)], ids[: len(self)] = self._vectors[: len(self)], self._ids[: len(self)]
            self._vectors, self._ids = vectors, ids

    def remove(self, ids: np.ndarray) -> None:
        """Take vectors out; unknown ids are passed over."""
        with self._lock.writing():
            for node_id in ids.tolist():
                row = self._row_of.pop(node_id, None)
                last = len(self._row_of)
                if row is not None and row != last:
                    self._vectors[row], self._ids[row] = self._vectors[last], self._ids[last]
                    self._row_of[int(self._ids[row])] = row

    def search(self, query: np.ndarray, k: int, *, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and cosines of the `k` nearest vectors, closest first; `among`, (m,) int64, limits the ids."""
        with self._lock.reading():
            rows = None if among is None else self._rows(among)
            count = len(self) if rows is None else len(rows)
            if not count:
                return np.empty(0, np.int64), np.empty(0, np.float32)
            vectors = self._vectors[: len(self)]
            labels, cosines = exact_search(vectors, query, min(k, count), rows=rows)
            return self._ids[labels], cosines

    def search_batch(self, queries: np.ndarray, k: int, *, num_threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and cosines, (q, k') each, of the `k` nearest vectors of (q, dim) `queries`."""
        with self._lock.reading():
            k = min(k, len(self))
            if not k:
                return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
            labels, cosines = exact_search(self._vectors[: len(self)], queries, k, num_threads=num_threads)
            return self._ids[labels], cosines

    def take(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids that are here and a copy of their vectors."""
        with self._lock.reading():
            rows = self._rows(ids)
            return self._ids[rows], self._vectors[rows]

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        rows = (self._row_of.get(node_id) for node_id in ids.tolist())
        return np.fromiter((row for row in rows if row is not None), np.int64)
