"""hnswlib, or faiss, behind a guard: verified files, a readers-writer lock, 64-bit node ids."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.config import IndexConfig
from ruvllm.errors import BrainError
from ruvllm.memory.huge_pages import use_huge_pages
from ruvllm.memory.lock import ReadWriteLock
from ruvllm.memory.rows import as_unit_rows
from ruvllm.whole_file import replacing

__all__ = ["HnswIndex", "IndexUnusable", "remove_saved", "verify_saved"]

logger = logging.getLogger(__name__)

MANIFEST_VERSION = 3
MAX_TOMBSTONES = 0.2  # share of deleted entries beyond which a rebuild pays
ADD_SLICE = 16  # entries that a thread adds (about 1 ms each) between two chances for searches to get in
SPACE = "ip"  # unit vectors: distance = 1 - cosine


class IndexUnusable(Exception):
    """The saved index cannot be used and is to be rebuilt; the message says why."""


class HnswIndex:
    """An HNSW graph over unit vectors; safe under concurrent add, remove and search.

    Source: Malkov and Yashunin 2018 (arXiv:1603.09320), as built by hnswlib 0.8.
    """

    def __init__(self, dim: int, config: IndexConfig, *, capacity: int = 1024) -> None:
        self.dim = dim
        self._config = config
        self._lock = ReadWriteLock()
        self._deleted: set[int] = set()
        self._changes = 0  # since the last save or load
        self._index = _graph(config.kind, dim)
        self._index.init_index(
            max_elements=max(capacity, 16), M=config.m, ef_construction=config.ef_construction, random_seed=100
        )
        self._use_huge_pages()
        self._ef = config.ef_search
        self._index.set_ef(self._ef)

    def __len__(self) -> int:
        """How many live vectors it holds."""
        count: int = self._index.element_count
        return count - len(self._deleted)

    @property
    def tombstones(self) -> float:
        """Share of entries that are deleted but still part of the graph."""
        return len(self._deleted) / max(int(self._index.element_count), 1)

    @property
    def changes(self) -> int:
        """Entries added or removed since the last save or load."""
        return self._changes

    def ids(self) -> np.ndarray:
        """Return the labels of all live vectors, (n,) int64, ascending."""
        with self._lock.reading():
            labels = np.asarray(self._index.get_ids_list(), dtype=np.int64)
            labels.sort()
            return np.setdiff1d(labels, np.fromiter(self._deleted, np.int64, len(self._deleted)), assume_unique=True)

    def add(self, labels: np.ndarray, vectors: np.ndarray, *, num_threads: int = 1) -> None:
        """Add vectors ((n, dim) float32, unit length) under labels; one that was removed is back with its vector.

        Raises:
            ValueError: a wrong shape, a NaN, a zero vector.
        """
        vectors = as_unit_rows(vectors, self.dim, "vectors")
        if len(labels) != len(vectors):
            raise ValueError(f"labels must have one entry a vector ({len(labels)} for {len(vectors)})")
        if self._config.kind == "faiss-sq8" and len(vectors):
            with self._lock.writing():
                self._index.train(vectors)
        step = ADD_SLICE * num_threads
        for start in range(0, len(labels), step):
            part = slice(start, start + step)
            with self._lock.writing():
                self._reserve(len(labels[part]))
                self._index.add_items(vectors[part], labels[part], num_threads=num_threads)
                self._deleted.difference_update(labels[part].tolist())
                self._changes += len(labels[part])

    def _reserve(self, count: int) -> None:
        needed = int(self._index.element_count) + count
        if needed > self._index.max_elements:
            self._index.resize_index(max(needed, int(self._index.max_elements * 1.5)))
            self._use_huge_pages()

    def _use_huge_pages(self) -> None:
        use_huge_pages(4 * self.dim * int(self._index.max_elements))  # of the vectors; their links lie among them

    def remove(self, labels: Iterable[int]) -> None:
        """Take vectors out of every later answer; unknown and removed labels are passed over."""
        with self._lock.writing():
            for label in labels:
                if label in self._deleted:
                    continue
                try:
                    self._index.mark_deleted(label)
                except RuntimeError:  # not in the index
                    continue
                self._deleted.add(int(label))
                self._changes += 1

    def search(self, query: np.ndarray, k: int, *, ef_search: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return labels (int64) and cosines (float32) of the nearest vectors, closest first, at most `k` of them.

        Args:
            query: (dim,) float32, unit length.
            k: neighbours wanted.
            ef_search: length of the candidate list; raised to `k`; the configured value when None.

        Raises:
            ValueError: `query` has the wrong shape or holds a NaN.
            IndexUnusable: too many entries are deleted for the graph to reach `k` live ones.
        """
        labels, cosines = self.search_batch(query, k, ef_search=ef_search)
        return labels[0], cosines[0]

    def search_batch(
        self, queries: np.ndarray, k: int, *, ef_search: int | None = None, num_threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (q, k') labels and cosines for (q, dim) or (dim,) `queries`, k' = min(k, live vectors)."""
        queries = self._checked(queries)
        if k < 1:
            raise ValueError(f"k must be >= 1 ({k})")
        k = min(k, self._index.element_count)
        ef = ef_search or self._config.ef_search
        self._acquire_read(ef if ef > k else k)
        try:
            k = min(k, len(self))
            if not k:
                rows = len(np.atleast_2d(queries))
                return np.empty((rows, 0), np.int64), np.empty((rows, 0), np.float32)
            labels, distances = self._index.knn_query(queries, k, num_threads)
        except RuntimeError as error:  # the graph does not reach k live entries from its entry point
            raise IndexUnusable(f"it finds fewer than {k} of {len(self)} vectors: {error}") from error
        finally:
            self._lock.release_read()
        return labels.view(np.int64), np.subtract(1.0, distances, out=distances)

    def _checked(self, queries: np.ndarray) -> np.ndarray:
        """Return the queries ready to search with; one sound query costs a dot product."""
        if isinstance(queries, np.ndarray) and queries.shape == (self.dim,) and queries.dtype == np.float32:
            square = queries.dot(queries)
            if 0.998 < square < 1.002:  # False for NaN too
                return queries
        return as_unit_rows(queries, self.dim, "query")

    def _acquire_read(self, ef: int) -> None:
        """Take the lock for reading with hnswlib's one global `ef` set as wanted."""
        self._lock.acquire_read()
        while self._ef != ef:
            self._lock.release_read()
            with self._lock.writing():
                self._index.set_ef(ef)
                self._ef = ef
            self._lock.acquire_read()

    def save(self, base: Path, *, embedder_id: str) -> None:
        """Write `base`.hnsw, then `base`.json, its manifest; a crash in between means a rebuild, no wrong index."""
        base.parent.mkdir(parents=True, exist_ok=True)
        file, manifest = _paths(base)
        part = file.with_name(file.name + ".tmp")
        with self._lock.reading():
            self._index.save_index(str(part))
            if part.stat().st_size != self._index.index_file_size():  # hnswlib does not notice a full disk
                part.unlink()
                raise BrainError(f"{file}: the disk is full; it is as it was", path=file)
            changes = self._changes
            content = {
                "version": MANIFEST_VERSION,
                "sha256": _sha256(part),
                "kind": self._config.kind,
                "dim": self.dim,
                "space": SPACE,
                "m": self._config.m,
                "ef_construction": self._config.ef_construction,
                "count": int(self._index.element_count),
                "deleted": sorted(self._deleted),
                "embedder": embedder_id,
            }
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(file)
        with replacing(manifest) as stream:
            stream.write(json.dumps(content).encode())
        self._changes -= changes

    @classmethod
    def load(cls, base: Path, *, dim: int, embedder_id: str, config: IndexConfig) -> HnswIndex:
        """Return the saved index.

        Raises:
            IndexUnusable: nothing saved, another embedder or shape, or the file is not what its manifest says.
        """
        manifest = verify_saved(base, dim=dim, embedder_id=embedder_id, config=config)
        index = cls.__new__(cls)
        index.dim, index._config, index._lock, index._changes = dim, config, ReadWriteLock(), 0
        index._index = _graph(config.kind, dim)
        try:
            index._index.load_index(str(_paths(base)[0]))
        except RuntimeError as error:
            raise IndexUnusable(f"{config.kind} refuses it: {error}") from error
        if index._index.element_count != manifest["count"]:
            raise IndexUnusable(f"it holds {index._index.element_count} vectors, not {manifest['count']}")
        index._use_huge_pages()
        index._deleted = set(manifest["deleted"])
        index._ef = config.ef_search
        index._index.set_ef(config.ef_search)  # not part of the file
        return index


def verify_saved(base: Path, *, dim: int, embedder_id: str, config: IndexConfig) -> dict[str, Any]:
    """Return the manifest when file and manifest agree with each other and with what is wanted, else IndexUnusable."""
    file, manifest_file = _paths(base)
    try:
        manifest: dict[str, Any] = json.loads(manifest_file.read_text(encoding="utf-8"))
        found = {key: manifest[key] for key in ("version", "kind", "dim", "space", "m", "ef_construction", "embedder")}
        recorded, deleted = manifest["sha256"], manifest["deleted"]
        if not isinstance(manifest["count"], int) or not all(isinstance(label, int) for label in deleted):
            raise IndexUnusable("its manifest is damaged")
        sha256 = _sha256(file)
    except FileNotFoundError as error:
        raise IndexUnusable("there is none") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexUnusable(f"its manifest is damaged: {error}") from error
    wanted = {
        "version": MANIFEST_VERSION,
        "kind": config.kind,
        "dim": dim,
        "space": SPACE,
        "m": config.m,
        "ef_construction": config.ef_construction,
        "embedder": embedder_id,
    }
    for key, value in wanted.items():
        if found[key] != value:
            raise IndexUnusable(f"it was built with {key} {found[key]}, not {value}")
    if sha256 != recorded:
        raise IndexUnusable("its checksum is wrong")
    return manifest


def remove_saved(base: Path) -> None:
    """Delete a saved index, manifest first."""
    file, manifest = _paths(base)
    manifest.unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def _paths(base: Path) -> tuple[Path, Path]:
    return base.with_name(base.name + ".hnsw"), base.with_name(base.name + ".json")


def _graph(kind: str, dim: int) -> Any:
    """Return what holds the graph: hnswlib's index or one with its methods."""
    if kind == "faiss-sq8":
        from ruvllm.memory.faiss_graph import FaissGraph

        return FaissGraph(dim)
    import hnswlib

    return hnswlib.Index(SPACE, dim)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
