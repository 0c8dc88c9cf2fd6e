"""The space that vectors are searched in: whose they are, and how native ones are projected to the configured size."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np

from ruvllm.embedding.projection import MIN_PCA_TEXTS, Projection, choose_projection, identity
from ruvllm.errors import BrainError
from ruvllm.memory.rows import are_unit, vector_of
from ruvllm.memory.store import Store
from ruvllm.types import Embedder

__all__ = ["Space", "remember_embedder", "require_same_embedder"]

logger = logging.getLogger(__name__)

PCA_SAMPLE = 20_000  # vectors that the principal directions are taken from, newest first


class Space:
    """Chosen at first use and kept for the life of a process: PCA of the brain's own vectors once there are enough.

    The map is derived: `index/projection` can be deleted at any time, the index is then built anew.

    Args:
        dim: wanted; vectors that are not longer than that are searched as they are.
        embedder: asked only when the brain does not say itself what its vectors are.
    """

    def __init__(self, store: Store, brain: Path, dim: int, embedder: Callable[[], Embedder]) -> None:
        self._store = store
        self._file = brain / "index" / "projection"
        self._dim = dim
        self._embedder = embedder
        self._projection: Projection | None = None
        self._is_known = False
        self._lock = threading.Lock()

    def known(self) -> tuple[int, str] | None:
        """Return (dim, id) of the space; None while the brain holds no vector."""
        return None if self._store.value("SELECT count(*) FROM meta WHERE key = 'embedder'") == 0 else self.dim_and_id()

    def is_known(self) -> bool:
        """Return whether the brain holds any vector, or did; asked of the database until it does."""
        self._is_known = self._is_known or self._store.value("SELECT 1 FROM meta WHERE key = 'embedder'") is not None
        return self._is_known

    def native_dim(self) -> int:
        """Return how long the brain's own vectors are."""
        projection = self._projection  # another process may have moved a brain that is only read
        return self._native()[1] if projection is None or self._store.read_only else projection.native_dim

    def dim_and_id(self) -> tuple[int, str]:
        """Return how long searched vectors are, and a name for what they depend on: embedder and projection."""
        embedder_id, _ = self._native()
        projection = self.projection()
        return projection.dim, f"{embedder_id}/{projection.version}"

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, dim) float32 unit vectors of (n, native_dim) ones."""
        return self.projection().apply(vectors)

    def projection(self) -> Projection:
        """Return the map in force."""
        with self._lock:  # two choices in the midst of an ingest could differ
            if self._projection is None:
                self._projection = self._choose()
            return self._projection

    def reload(self) -> None:
        """Forget the map, also the saved one; the next who needs it chooses anew."""
        with self._lock:
            self._projection = None
            self._file.unlink(missing_ok=True)

    def _native(self) -> tuple[str, int]:
        meta = dict(self._store.rows("SELECT key, value FROM meta WHERE key IN ('embedder', 'native_dim')"))
        if meta:
            return str(meta["embedder"]), int(meta["native_dim"])
        embedder = self._embedder()
        return embedder.id, embedder.native_dim

    def _choose(self) -> Projection:
        embedder_id, native_dim = self._native()
        if self._dim >= native_dim:
            return identity(native_dim)
        try:
            owner, _, content = self._file.read_bytes().partition(b"\n")
            if owner == embedder_id.encode():
                saved = Projection.from_bytes(content)
                if (saved.native_dim, saved.dim) == (native_dim, self._dim):
                    return saved
        except FileNotFoundError:
            pass
        except ValueError as error:
            logger.warning("%s is made anew: %s", self._file, error)
        rows = self._store.rows(
            "SELECT vector FROM vectors WHERE length(vector) = ? ORDER BY node DESC LIMIT ?",
            (4 * native_dim, PCA_SAMPLE),
        )
        vectors = vector_of(b"".join(row[0] for row in rows)).reshape(-1, native_dim)
        vectors = vectors[are_unit(vectors)]
        chosen = choose_projection(native_dim, self._dim, vectors)
        if len(vectors) >= MIN_PCA_TEXTS and not self._store.read_only:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_name(self._file.name + ".tmp")
            part.write_bytes(embedder_id.encode() + b"\n" + chosen.to_bytes())
            part.replace(self._file)
        return chosen


def remember_embedder(connection: apsw.Connection, embedder: Embedder) -> None:
    """Write down whose vectors this brain holds, the first time one comes.

    Raises:
        BrainError: they are by another embedder, to which the brain was moved since this one was opened.
    """
    found = connection.execute("SELECT value FROM meta WHERE key = 'embedder'").get
    if found is None:
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)",
            [("embedder", embedder.id), ("native_dim", str(embedder.native_dim))],
        )
    elif found != embedder.id:
        brain = Path(connection.filename).parent
        raise BrainError(f"{brain} was moved from {embedder.id} to {found} meanwhile; try again", path=brain)


def require_same_embedder(store: Store, embedder: Embedder) -> None:
    """Raise ValueError when the brain's vectors are by another embedder: they could not be compared."""
    found = store.value("SELECT value FROM meta WHERE key = 'embedder'")
    if found is not None and found != embedder.id:
        raise ValueError(
            f"embedder: {store.path.parent} holds vectors by {found!r}, not {embedder.id!r}; "
            "set embedding.model back to it, or move the brain with `ruvllm reembed MODEL`"
        )
