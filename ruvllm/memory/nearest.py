"""Nearest vectors of one namespace: exact while few or while the index is missing, HNSW otherwise."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np

from ruvllm.config import IndexConfig
from ruvllm.memory.background_index import BackgroundIndex
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.index import MAX_TOMBSTONES, HnswIndex, IndexUnusable, remove_saved
from ruvllm.memory.rows import SEARCHED, are_unit, vector_of
from ruvllm.memory.store import Store
from ruvllm.memory.vectors import VectorMatrix

__all__ = ["IndexState", "Nearest", "index_base", "remove_all_saved"]

logger = logging.getLogger(__name__)

IndexState = Literal["unloaded", "exact", "building", "ready"]

THREADS = min(os.cpu_count() or 1, 8)  # of what works on many vectors at once
READ_ROWS = 2048  # vectors read from the database at a time: what was just freed is used again, larger ones page-fault
BUILD_ROWS = 2048  # vectors put into the index between two looks at the stop flag (about 2 s)
INLINE_ROWS = 1024  # so few are indexed at once by the thread that needs them
FEW_KEPT = 0.1  # a filter that keeps at most this share is searched exactly
LEAST_ASKED = 200  # through a filter: the ten nearest of a fifth of 100,000 are found to 99.5 %, with 50 to 96 %
FEW_PRODUCTS = 500_000  # of vectors, about 5 ms: so few are not worth waiting for another thread
LOOK_S = 0.05  # between two looks at whether waiting for a builder is to end
MIN_UNSAVED = 256  # below this many changes saving on close is not worth writing the whole file

SEARCHED_IDS = f"SELECT id FROM nodes WHERE namespace = ? AND {SEARCHED}"


def index_base(brain: Path, namespace: str) -> Path:
    """Return the path of a namespace's saved index, without its suffixes."""
    return brain / "index" / quote(namespace, safe="")


def remove_all_saved(brain: Path) -> None:
    """Delete the saved indexes of all namespaces."""
    for file in (brain / "index").glob("*.hnsw"):
        remove_saved(file.with_suffix(""))


class Nearest:
    """What `search` asks for vectors. Derived from the database at first use; kept in step by `added` and `removed`.

    Args:
        project: (n, native_dim) -> (n, dim) unit vectors.
        space: (dim, id of embedder and projection), asked at first use.
    """

    def __init__(
        self,
        store: Store,
        brain: Path,
        namespace: str,
        config: IndexConfig,
        *,
        project: Callable[[np.ndarray], np.ndarray],
        space: Callable[[], tuple[int, str]],
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._config = config
        self._project = project
        self._space = space
        self._base = index_base(brain, namespace)
        self._lock = threading.RLock()  # held while matrix and index are brought in step
        self._matrix: VectorMatrix | None = None
        self._index: BackgroundIndex | None = None
        self._building: HnswIndex | None = None
        self._builder: threading.Thread | None = None
        self._stop = threading.Event()
        self._version = 0  # of the database, as this one last saw it

    @property
    def state(self) -> IndexState:
        """How the next search will look."""
        if self._matrix is None:
            return "unloaded"
        if self._index is not None:
            return "ready"
        return "building" if self._building is not None else "exact"

    def __len__(self) -> int:
        return len(self._matrix) if self._matrix is not None else 0

    @property
    def indexed(self) -> int:
        """How many vectors the index in use holds."""
        return len(self._index) if self._index is not None else 0

    # -- keeping in step ---------------------------------------------------------------------------------------------

    def load(self) -> VectorMatrix:
        """Read vectors and index once, and follow another process's writes when this one only reads."""
        matrix = self._matrix
        if matrix is not None and not self._store.read_only:
            return matrix
        with self._changing():
            version = self._store.version()
            if self._matrix is None:
                dim, _ = self._space()
                matrix = VectorMatrix(dim, capacity=self._count() + READ_ROWS)
                self._read_into(matrix, None)
                self._matrix = matrix
                self._load_index()
            elif version != self._version:
                self._bring_in_step(self._matrix)
            self._version = version
            return self._matrix

    def _read_into(self, matrix: VectorMatrix, ids: list[int] | None) -> None:
        native_dim = self._store.value("SELECT value FROM meta WHERE key = 'native_dim'")
        if native_dim is None:
            return
        size = 4 * int(native_dim)
        wanted = "" if ids is None else " AND id IN (SELECT value FROM json_each(?))"
        parameters: tuple[object, ...] = (self._namespace,) if ids is None else (self._namespace, json.dumps(ids))
        last = 0
        while True:
            rows = self._store.rows(
                f"SELECT id, vector FROM ({SEARCHED_IDS}{wanted}) JOIN vectors ON node = id WHERE id > ? "
                "ORDER BY id LIMIT ?",  # by id, not by node: the index is in that order, nothing is sorted
                (*parameters, last, READ_ROWS),
            )
            if not rows:
                return
            last = rows[-1][0]
            sound = [(node_id, blob) for node_id, blob in rows if len(blob) == size]
            vectors = vector_of(b"".join(blob for _, blob in sound)).reshape(-1, int(native_dim))
            is_unit = are_unit(vectors)
            if len(rows) != len(sound) or not is_unit.all():
                logger.warning("%s holds damaged vectors, which are not searched: run a check", self._store.path)
            matrix.add(np.array([i for i, _ in sound], np.int64)[is_unit], self._project(vectors[is_unit]))

    def _bring_in_step(self, matrix: VectorMatrix) -> None:
        there = np.array([row[0] for row in self._store.rows(SEARCHED_IDS, (self._namespace,))], np.int64)
        gone = np.setdiff1d(matrix.ids(), there, assume_unique=True)
        new = np.setdiff1d(there, matrix.ids(), assume_unique=True)
        if len(gone):
            self._drop(gone)
        if len(new):
            self._read_into(matrix, new.tolist())
            if self._index is not None:
                self._index.add(*matrix.take(new))

    def added(self, ids: Iterable[int], vectors: np.ndarray) -> None:
        """Take in nodes that were just committed; `vectors` is (n, native_dim) float32."""
        with self._changing():
            if self._matrix is None:  # whoever loads will find them in the database
                return
            labels = np.fromiter(ids, np.int64)
            self._matrix.add(labels, self._project(vectors))
            if self._index is not None:
                self._index.add(*self._matrix.take(labels))
            elif len(self._matrix) >= self._config.exact_below:
                self._start_builder()

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that were just deleted."""
        with self._changing():
            if self._matrix is not None:
                self._drop(np.fromiter(ids, np.int64))

    def _changing(self) -> AbstractContextManager[None]:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._matrix = self._index = self._building = None

    def _drop(self, labels: np.ndarray) -> None:
        if self._matrix is not None:
            self._matrix.remove(labels)
        if self._index is not None:
            self._index.remove(labels.tolist())

    def reload(self) -> None:
        """Throw the derived state away; the next search reads it again from the database."""
        self.stop()
        with self._lock:
            self._throw_away()

    # -- the index ---------------------------------------------------------------------------------------------------

    def _load_index(self) -> None:
        matrix = self._matrix
        if matrix is None or len(matrix) < self._config.exact_below:
            return
        dim, space_id = self._space()
        try:
            index = HnswIndex.load(self._base, dim=dim, embedder_id=space_id, config=self._config)
        except IndexUnusable as reason:
            if self._store.read_only:
                logger.info("index %s is not used: %s; search is exact", self._base, reason)
                return
            logger.info("index %s is built anew: %s", self._base, reason)
            index = HnswIndex(dim, self._config, capacity=len(matrix) + BUILD_ROWS)
        self._start_builder(index)

    def _start_builder(self, index: HnswIndex | None = None) -> None:
        """Bring `index` (an empty one when None) in step with the matrix: at once when little is missing."""
        if self._matrix is None or self._building is not None:
            return
        if index is None:
            index = HnswIndex(self._matrix.dim, self._config, capacity=len(self._matrix) + BUILD_ROWS)
        missing = len(self._matrix) - len(index)
        if missing <= INLINE_ROWS and self._publish(index, limit=2 * INLINE_ROWS):
            return
        self._building = index
        self._builder = threading.Thread(target=self._build, args=(index,), name="ruvllm-index", daemon=True)
        self._builder.start()

    def _build(self, index: HnswIndex) -> None:
        try:
            while not self._stop.is_set() and not self._publish(index, limit=BUILD_ROWS // 4):
                matrix = self._matrix
                if matrix is None or self._building is not index:  # thrown away meanwhile
                    return
                missing = np.setdiff1d(matrix.ids(), index.ids(), assume_unique=True)
                for start in range(0, len(missing), BUILD_ROWS):
                    if self._stop.is_set() or self._building is not index:
                        return
                    index.add(*matrix.take(missing[start : start + BUILD_ROWS]), num_threads=THREADS)
        except Exception:
            logger.exception("building the index %s failed; search stays exact", self._base)
            with self._lock:
                if self._building is index:
                    self._building = None

    def _publish(self, index: HnswIndex, *, limit: int) -> bool:
        """Put `index` to use when it lacks at most `limit` vectors of the matrix; they are added under the lock."""
        with self._lock:
            if self._matrix is None:
                return False
            ids, have = self._matrix.ids(), index.ids()
            missing = np.setdiff1d(ids, have, assume_unique=True)
            if len(missing) > limit:
                return False
            index.remove(np.setdiff1d(have, ids, assume_unique=True).tolist())
            index.add(*self._matrix.take(missing))
            if index.tombstones > MAX_TOMBSTONES:
                logger.info("index %s: %.0f %% is deleted, it wants a rebuild", self._base, 100 * index.tombstones)
            self._index, self._building = BackgroundIndex(index, THREADS), None
            return True

    def prepare(self) -> None:
        """Have the index ready when there are enough vectors to want one."""
        if self._count() >= self._config.exact_below:
            self.load()
            self.settle()

    def _count(self) -> int:
        return int(self._store.value(f"SELECT count(*) FROM ({SEARCHED_IDS})", (self._namespace,)))

    def settle(self, cancelled: Callable[[], bool] | None = None) -> None:
        """Wait until the index, if one is being built, is in use, and holds all vectors; or until `cancelled`."""
        builder = self._builder
        if builder is not None:
            while builder.is_alive() and not (cancelled is not None and cancelled()):
                builder.join(None if cancelled is None else LOOK_S)
        index = self._index
        if index is not None and not (cancelled is not None and cancelled()):
            index.settle()

    @property
    def wants_rebuild(self) -> bool:
        """Whether too much of the index in use is deleted."""
        index = self._index
        return index is not None and index.tombstones > MAX_TOMBSTONES

    def compact(self, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Build the index anew when too much of it is deleted; return whether that was done.

        The old one answers until the new one is ready. Where `cancelled` ends the waiting, building goes on.
        """
        self.load()
        self.settle(cancelled)
        if cancelled():  # asked without the lock: it may wait for who needs that
            return False
        with self._lock:
            old = self._index
            if self._matrix is None or not self.wants_rebuild:
                return False
            if len(self._matrix) < self._config.exact_below:
                self._index = None
                remove_saved(self._base)
                return True
            self._start_builder()
        self.settle(cancelled)
        return self._index is not old

    def rebuild(self) -> None:
        """Drop the index, also the saved one, and build it from the database; exact search answers meanwhile."""
        self.reload()
        remove_saved(self._base)
        self.load()
        self.settle()

    def save(self, *, force: bool = False) -> bool:
        """Save the index when enough of it changed; an unfinished one too: the next opening goes on from there."""
        with self._lock:
            index = self._index or self._building
        if index is None or self._store.read_only or not index.changes:
            return False
        if not force and index.changes < max(MIN_UNSAVED, len(index) // 50):
            return False
        index.save(self._base, embedder_id=self._space()[1])
        return True

    def stop(self) -> None:
        """Stop building."""
        self._stop.set()
        self.settle()
        with self._lock:
            self._builder = None
        self._stop.clear()

    # -- search ------------------------------------------------------------------------------------------------------

    def search(self, query: np.ndarray, k: int, *, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (int64) and cosines (float32) of the `k` nearest nodes, closest first.

        Args:
            query: (dim,) float32, unit length, projected.
            k: neighbours wanted.
            among: (m,) int64, the only ids that may come back; all when None.
        """
        matrix = self.load()
        index = self._index
        if index is not None:
            try:
                found = index.search(query, k) if among is None else _search_kept(index, query, k, among, len(matrix))
            except IndexUnusable as reason:
                logger.warning("index %s: %s; searching exactly", self._base, reason)
                found = None
            if found is not None:
                return found
        return matrix.search(query, k, among=among)

    def search_batch(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and cosines, (q, k') each, of the `k` nearest nodes of every query, on all cores.

        Args:
            queries: (q, dim) float32, unit length, projected.
        """
        matrix, index = self.load(), self._index
        if index is not None:
            try:
                return index.search_batch(queries, k, num_threads=min(THREADS, len(queries)))
            except IndexUnusable as reason:
                logger.warning("index %s: %s; searching exactly", self._base, reason)
        num_threads = 1 if len(queries) * len(matrix) < FEW_PRODUCTS else THREADS
        return matrix.search_batch(queries, k, num_threads=num_threads)

    def vectors(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of `ids`, (n,) int64, are searched here, (m,) int64 places in it, and their vectors."""
        return self.load().find(ids)


def _search_kept(
    index: BackgroundIndex, query: np.ndarray, k: int, kept: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Search through a filter by asking for more and more neighbours; None when exact search is the better way."""
    share = len(kept) / max(total, 1)
    if share <= FEW_KEPT:
        return None
    wanted = max(math.ceil(k / min(share, 1.0)), LEAST_ASKED)
    while wanted < total:
        labels, cosines = index.search(query, wanted)
        passed = np.isin(labels, kept)
        if passed.sum() >= k:
            return labels[passed][:k], cosines[passed][:k]
        wanted *= 2
    return None
