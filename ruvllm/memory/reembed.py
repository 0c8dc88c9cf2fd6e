"""Moving a brain to another embedder: new vectors beside the old ones, which serve until all are there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apsw
import numpy as np

from ruvllm.errors import BrainError, ModelDamaged
from ruvllm.memory.embedded_text import embedded_texts
from ruvllm.memory.embedder_lock import EmbedderLock
from ruvllm.memory.rows import as_unit_rows
from ruvllm.memory.store import Store, fetch
from ruvllm.types import Embedder

__all__ = ["ReembedProgress", "reembed"]

logger = logging.getLogger(__name__)

BATCH_NODES = 256

MISSING = (
    "SELECT nodes.id FROM nodes JOIN vectors ON vectors.node = nodes.id "
    "LEFT JOIN vectors_next ON vectors_next.node = nodes.id "
    "WHERE nodes.id > ? AND vectors_next.node IS NULL ORDER BY nodes.id LIMIT ?"
)
IS_MISSING = (
    "SELECT 1 FROM vectors JOIN nodes ON id = vectors.node LEFT JOIN vectors_next ON vectors_next.node = id "
    "WHERE vectors_next.node IS NULL LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class ReembedProgress:
    """How far a move is; what was added to the brain meanwhile makes `total` grow."""

    nodes_done: int
    nodes_total: int


def reembed(
    store: Store,
    lock: EmbedderLock,
    embedder: Embedder,
    *,
    before: Callable[[], None],
    after: Callable[[], None],
    on_progress: Callable[[ReembedProgress], None] | None = None,
) -> int:
    """Give every node that has a vector one by `embedder`, change over to these, and return how many were made.

    The new vectors gather in a table of their own, so that a run that was killed goes on where it was.

    Args:
        lock: held alone for the change only.
        before: told right before the change, `after` right after its commit.

    Raises:
        ModelDamaged: the embedder gives NaN, infinities or zeros; the old vectors stay in use.
        BrainError: nodes are archived, whose vectors are out of reach.
    """
    move = _Move(store, embedder, on_progress)
    if not store.write(move.begin):
        return 0
    while move.fill():
        pass
    with lock.changing():
        before()
        while not store.write(move.change, after=lambda is_done: after() if is_done else None):
            move.fill()
    logger.info("%s moved to %s", store.path.parent, embedder.id)
    return move.count


class _Move:
    """One run towards one embedder."""

    def __init__(self, store: Store, embedder: Embedder, on_progress: Callable[[ReembedProgress], None] | None) -> None:
        self._store = store
        self._embedder = embedder
        self._next = {"next_embedder": embedder.id, "next_native_dim": str(embedder.native_dim)}
        self._on_progress = on_progress
        self.count = 0

    def begin(self, connection: apsw.Connection) -> bool:
        """Write down where the brain moves to; False when it has no vectors and never had. Another move is given up."""
        meta = dict(fetch(connection, "SELECT key, value FROM meta"))
        if "embedder" not in meta:
            return False
        self._require_none_archived(connection)
        if not self._next.items() <= meta.items():
            connection.execute("DELETE FROM vectors_next")
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(self._next.items()))
        return True

    def fill(self) -> bool:
        """Walk over all nodes and embed those that lack a new vector; return whether there were any."""
        done: int = self._store.value("SELECT count(*) FROM vectors_next")
        total = max(done, self._store.value("SELECT count(*) FROM vectors"))
        last, start = 0, self.count
        while rows := self._store.rows(MISSING, (last, BATCH_NODES)):
            last = rows[-1][0]
            texts = embedded_texts(self._store.rows, [row[0] for row in rows])
            if texts:  # not all deleted since
                vectors = self._encoded(list(texts.values()))
                self._store.write(lambda connection: self._insert(connection, list(texts), vectors))  # noqa: B023 (runs at once)
            self.count += len(texts)
            done += len(texts)
            if self._on_progress is not None:
                self._on_progress(ReembedProgress(done, max(total, done)))
        return self.count > start

    def _encoded(self, texts: list[str]) -> np.ndarray:
        try:
            return as_unit_rows(self._embedder.encode(texts), self._embedder.native_dim, "embedding")
        except ValueError as error:
            raise ModelDamaged(
                f"{self._embedder.id} gives no sound vectors: {error}", model=self._embedder.id
            ) from error

    def _insert(self, connection: apsw.Connection, ids: Sequence[int], vectors: np.ndarray) -> None:
        """Insert vectors of those nodes that still have one."""
        self._require_own(connection)
        connection.executemany(
            "INSERT OR IGNORE INTO vectors_next SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM vectors WHERE node = ?1)",
            [(node, vector.astype("<f4").tobytes()) for node, vector in zip(ids, vectors, strict=True)],
        )

    def change(self, connection: apsw.Connection) -> bool:
        """Put the new vectors in the place of the old ones; False when some are missing."""
        self._require_own(connection)
        self._require_none_archived(connection)
        if connection.execute(IS_MISSING).get:
            return False
        connection.execute("DELETE FROM vectors_next WHERE node NOT IN (SELECT node FROM vectors)")
        for old, new in (("vectors", "vectors_old"), ("vectors_next", "vectors"), ("vectors_old", "vectors_next")):
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.execute("DELETE FROM vectors_next")
        connection.execute("DELETE FROM meta WHERE key IN ('next_embedder', 'next_native_dim')")
        meta = [(self._embedder.id, "embedder"), (str(self._embedder.native_dim), "native_dim")]
        connection.executemany("UPDATE meta SET value = ? WHERE key = ?", meta)
        return True

    def _require_own(self, connection: apsw.Connection) -> None:
        if not self._next.items() <= dict(fetch(connection, "SELECT key, value FROM meta")).items():
            raise BrainError(f"{self._store.path.parent} was moved by somebody else meanwhile", path=self._store.path)

    def _require_none_archived(self, connection: apsw.Connection) -> None:
        archived = connection.execute("SELECT count(*) FROM nodes WHERE tier = 'cold'").get
        if archived:
            brain = self._store.path.parent
            raise BrainError(
                f"{brain} has {archived} archived nodes, with vectors by its embedder; bring them back with "
                "`rehydrate` before it moves to another one",
                path=brain,
            )
