"""Near-duplicates of nodes that are about to be inserted, looked for in the transaction that would insert them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

import apsw
import numpy as np

from ruvllm.memory.nearest import Nearest
from ruvllm.memory.rows import SEARCHED, vector_of
from ruvllm.memory.space import Space
from ruvllm.memory.store import Store, fetch
from ruvllm.text import Signature, jaccard, minhash
from ruvllm.types import NodeType

__all__ = ["SAME_COSINE", "SAME_JACCARD", "Duplicates", "first_alike", "say_the_same"]

SAME_COSINE, SAME_JACCARD = 0.95, 0.8  # both: a near-duplicate
CANDIDATES = 32


def say_the_same(text: str, other: str) -> bool:
    """Return whether two texts whose vectors are near have nearly the same words."""
    return text == other or jaccard(_signature(text), _signature(other)) >= SAME_JACCARD


@lru_cache(maxsize=2048)  # texts of one block are compared with each other: 2 MB
def _signature(text: str) -> Signature:
    return minhash(text)


def first_alike(texts: Sequence[str], vectors: np.ndarray) -> list[int]:
    """Return for each of n texts which of them is the first that says nearly the same: itself when none before does.

    Args:
        vectors: (n, native_dim) float32, unit length.
    """
    first = list(range(len(texts)))
    if len(texts) == 1:
        return first
    near = np.tril(vectors @ vectors.T >= SAME_COSINE, -1)
    for row in np.flatnonzero(near.any(axis=1)).tolist():
        alike = (j for j in np.flatnonzero(near[row]).tolist() if first[j] == j and say_the_same(texts[row], texts[j]))
        first[row] = next(alike, row)
    return first


class Duplicates:
    """Looks among the searched nodes of one namespace.

    The vectors in memory hold every commit before the running transaction (the hooks after a commit run before the next
    begins); what the transaction itself has inserted so far is read from its own connection.
    """

    def __init__(self, store: Store, nearest: Nearest, space: Space, namespace: str) -> None:
        self._store = store
        self._nearest = nearest
        self._space = space
        self._namespace = namespace

    def during(
        self, connection: apsw.Connection, texts: Sequence[str], vectors: np.ndarray, type: NodeType
    ) -> list[int | None]:
        """Return for each text which node of this type says nearly the same (cosine and Jaccard), the nearest, or None.

        Args:
            connection: the one that the transaction runs on.
            vectors: (n, native_dim) float32, unit length.
        """
        if not self._store.has_written(connection):
            return self._among_committed(connection, texts, vectors, type)
        committed = self._store.value("SELECT max(id) FROM nodes") or 0  # a reader's view: before the transaction
        found: list[int | None] = [None] * len(texts)
        if committed:
            found = self._among_committed(connection, texts, vectors, type)
        if (connection.execute("SELECT max(id) FROM nodes").get or 0) > committed:
            inserted = self._among_inserted(connection, texts, vectors, type, committed)
            found = [known or new for known, new in zip(found, inserted, strict=True)]
        return found

    def _among_committed(
        self, connection: apsw.Connection, texts: Sequence[str], vectors: np.ndarray, type: NodeType
    ) -> list[int | None]:
        found: list[int | None] = [None] * len(texts)
        projected = self._space.project(vectors)
        _, nearest = self._nearest.search_batch(projected, 1)
        rows = np.flatnonzero((nearest >= SAME_COSINE).any(axis=1))  # few: of the others nobody need be asked for more
        if len(rows):
            ids, cosines = self._nearest.search_batch(projected[rows], CANDIDATES)
            for i, row in enumerate(rows.tolist()):
                near = ids[i][cosines[i] >= SAME_COSINE].tolist()
                found[row] = _first(near, _texts(connection, near, type), texts[row])
        return found

    def _among_inserted(
        self, connection: apsw.Connection, texts: Sequence[str], vectors: np.ndarray, type: NodeType, committed: int
    ) -> list[int | None]:
        fresh = fetch(
            connection,
            f"SELECT id, text, vector FROM nodes JOIN vectors ON node = id WHERE namespace = ? AND {SEARCHED} "
            "AND id > ? AND type = ?",
            (self._namespace, committed, type.value),
        )
        if not fresh:
            return [None] * len(texts)
        own = {node_id: text for node_id, text, _ in fresh}
        near = vectors @ np.stack([vector_of(blob) for *_, blob in fresh]).T >= SAME_COSINE
        return [
            _first([fresh[i][0] for i in np.flatnonzero(row)], own, text) for row, text in zip(near, texts, strict=True)
        ]


def _texts(connection: apsw.Connection, ids: Sequence[int], type: NodeType) -> dict[int, str]:
    sql = f"SELECT id, text FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND type = ? AND {SEARCHED}"
    return dict(fetch(connection, sql, (json.dumps(ids), type.value)))


def _first(ids: Sequence[int], texts: dict[int, str], text: str) -> int | None:
    return next((i for i in ids if i in texts and say_the_same(text, texts[i])), None)
