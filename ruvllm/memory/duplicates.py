"""Near-duplicates of a node that is about to be inserted, looked for in the transaction that would insert it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import apsw
import numpy as np

from ruvllm.memory.nearest import Nearest
from ruvllm.memory.rows import SEARCHED, vector_of
from ruvllm.memory.space import Space
from ruvllm.memory.store import Store, fetch
from ruvllm.text import jaccard, minhash
from ruvllm.types import NodeType

__all__ = ["SAME_COSINE", "SAME_JACCARD", "Duplicates", "Searched", "say_the_same"]

SAME_COSINE, SAME_JACCARD = 0.95, 0.8  # both: a near-duplicate
CANDIDATES = 32


def say_the_same(text: str, other: str) -> bool:
    """Return whether two texts whose vectors are near have nearly the same words."""
    return text == other or jaccard(minhash(text), minhash(other)) >= SAME_JACCARD


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

    def during(self, connection: apsw.Connection) -> Searched:
        """Return what is searched for near-duplicates in the transaction that runs on `connection`."""
        committed = self._store.value("SELECT max(id) FROM nodes") or 0  # a reader's view: before the transaction
        fresh = fetch(
            connection,
            f"SELECT id, type, text, vector FROM nodes JOIN vectors ON node = id WHERE namespace = ? AND {SEARCHED} "
            "AND id > ?",
            (self._namespace, committed),
        )
        searched = Searched(connection, self._nearest if committed else None, self._space)
        for node_id, type_, text, blob in fresh:
            searched.add(node_id, NodeType(type_), text, vector_of(blob))
        return searched


class Searched:
    """The nodes that a near-duplicate may be among, those inserted on the way included."""

    def __init__(self, connection: apsw.Connection, nearest: Nearest | None, space: Space) -> None:
        self._connection = connection
        self._nearest = nearest
        self._space = space
        self._fresh: list[tuple[int, NodeType, str]] = []
        self._vectors = np.empty((0, 0), np.float32)  # (capacity, native_dim), the first len(_fresh) in use

    def add(self, node_id: int, type: NodeType, text: str, vector: np.ndarray) -> None:
        """Take in a node that the transaction has inserted; `vector` is (native_dim,) float32, unit length."""
        count = len(self._fresh)
        if count == len(self._vectors):
            grown = np.empty((max(2 * count, 16), len(vector)), np.float32)
            if count:
                grown[:count] = self._vectors
            self._vectors = grown
        self._vectors[count] = vector
        self._fresh.append((node_id, type, text))

    def duplicate_of(self, text: str, vector: np.ndarray, type: NodeType) -> int | None:
        """Return the node of this type that says nearly the same (cosine and Jaccard), the nearest first, or None."""
        return self._committed(text, vector, type) or self._inserted(text, vector, type)

    def _committed(self, text: str, vector: np.ndarray, type: NodeType) -> int | None:
        if self._nearest is None:
            return None
        ids, cosines = self._nearest.search(self._space.project(vector[np.newaxis])[0], CANDIDATES)
        near = ids[cosines >= SAME_COSINE].tolist()
        return _first(near, _texts(self._connection, near, type), text) if near else None

    def _inserted(self, text: str, vector: np.ndarray, type: NodeType) -> int | None:
        if not self._fresh:
            return None
        cosines = self._vectors[: len(self._fresh)] @ vector
        near = [self._fresh[i] for i in np.flatnonzero(cosines >= SAME_COSINE)]
        texts = {node_id: own for node_id, type_, own in near if type_ is type}
        return _first([node_id for node_id, _, _ in near], texts, text)


def _texts(connection: apsw.Connection, ids: Sequence[int], type: NodeType) -> dict[int, str]:
    sql = f"SELECT id, text FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND type = ? AND {SEARCHED}"
    return dict(fetch(connection, sql, (json.dumps(ids), type.value)))


def _first(ids: Sequence[int], texts: dict[int, str], text: str) -> int | None:
    return next((i for i in ids if i in texts and say_the_same(text, texts[i])), None)
