"""The matrix for exact search: every searched vector in memory as float16, found by row or by node id."""

from __future__ import annotations

import numpy as np

from ruvllm.kernels import exact_search, widen_rows
from ruvllm.memory.lock import ReadWriteLock
from ruvllm.memory.rows import as_unit_rows

__all__ = ["VectorMatrix"]

NO_ROW = -1


class VectorMatrix:
    """Unit vectors under node ids; rows stay dense (the last ones fill gaps). Safe from several threads.

    Kept as float16, half the memory of float32: a cosine is off by less than 2^-11, and no more than rounding decides
    which of two nodes is the nearer one.
    The database counts ids up from 1, so that a plain table says which row each has: 4 bytes for every id ever given.
    """

    def __init__(self, dim: int, *, capacity: int = 256) -> None:
        self.dim = dim
        self._lock = ReadWriteLock()
        self._size = 0
        self._vectors = np.empty((max(capacity, 1), dim), np.float16)
        self._ids = np.empty(max(capacity, 1), np.int64)  # by row
        self._row_of = np.full(max(capacity, 1) + 1, NO_ROW, np.int32)  # by id; the last one belongs to no id

    def __len__(self) -> int:
        return self._size

    def __contains__(self, node_id: int) -> bool:
        return bool(self._rows(np.array([node_id], np.int64))[0] != NO_ROW)

    def ids(self) -> np.ndarray:
        """Return the node ids, (n,) int64, ascending."""
        with self._lock.reading():
            return np.sort(self._ids[: self._size])

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add (n, dim) float32 unit vectors under new ids, each > 0; ids that are here already are passed over."""
        vectors = as_unit_rows(vectors, self.dim, "vectors")
        with self._lock.writing():
            is_new = self._rows(ids) == NO_ROW
            if not is_new.all():
                ids, vectors = ids[is_new], vectors[is_new]
            start, stop = self._size, self._size + len(ids)
            self._vectors = _with_room(self._vectors, stop)
            self._ids = _with_room(self._ids, stop)
            self._row_of = _with_room(self._row_of, int(ids.max(initial=0)) + 2, fill=NO_ROW)
            self._vectors[start:stop] = vectors
            self._ids[start:stop] = ids
            self._row_of[ids] = np.arange(start, stop, dtype=np.int32)
            self._size = stop

    def remove(self, ids: np.ndarray) -> None:
        """Take vectors out; unknown ids are passed over."""
        with self._lock.writing():
            gone = np.unique(self._known_rows(ids))
            self._row_of[self._ids[gone]] = NO_ROW
            left = self._size - len(gone)
            gaps, last = gone[gone < left], np.setdiff1d(np.arange(left, self._size), gone, assume_unique=True)
            self._vectors[gaps], self._ids[gaps] = self._vectors[last], self._ids[last]
            self._row_of[self._ids[gaps]] = gaps
            self._size = left

    def search(self, query: np.ndarray, k: int, *, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and cosines of the `k` nearest vectors, closest first; `among`, (m,) int64, limits the ids."""
        with self._lock.reading():
            rows = None if among is None else self._known_rows(among)
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
        places, vectors = self.find(ids)
        return ids[places], vectors

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of `ids`, (n,) int64, are here, (m,) int64 places in it, and a copy of their vectors."""
        with self._lock.reading():
            rows = self._rows(ids)
            places = np.flatnonzero(rows != NO_ROW)
            return places, widen_rows(self._vectors, rows[places].astype(np.int64))

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        known = np.minimum(ids, len(self._row_of) - 1)  # an id that is too large finds the last entry, of none
        return np.asarray(self._row_of[known], np.int32)

    def _known_rows(self, ids: np.ndarray) -> np.ndarray:
        rows = self._rows(ids)
        return np.asarray(rows[rows != NO_ROW], np.int64)


def _with_room(array: np.ndarray, count: int, *, fill: int | None = None) -> np.ndarray:
    """Return the array itself when it has `count` rows, else a larger one with the same first rows."""
    if count <= len(array):
        return array
    grown = np.empty((max(count, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    if fill is not None:
        grown[len(array) :] = fill
    return grown
