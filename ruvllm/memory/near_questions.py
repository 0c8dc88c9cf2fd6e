"""Questions of answered requests by their vectors, in memory: where to look for answers to nearly the same question.

What is kept here only says where to look: what is there is read in the transaction.
"""

from __future__ import annotations

from itertools import chain

import apsw
import numpy as np

from ruvllm.memory.duplicates import SAME_COSINE
from ruvllm.memory.rows import vector_of
from ruvllm.memory.store import fetch

__all__ = ["Questions", "RatedQuestions", "read_questions"]

RATED = 20_000  # questions of a namespace, the newest, at least: 75 MB at most where each was asked once
ASKED = 1_000  # of one question, the newest


class Questions:
    """Questions with the ids of their interactions; of more than twice `keep` those not asked for longest are dropped.

    A question that is asked again in the same words has the same vector, which is kept once.
    """

    def __init__(self, ids: list[str], vectors: np.ndarray, keep: int) -> None:
        self._keep, self._keep_ids = keep, min(keep, ASKED)
        self._added = 0
        self._row: dict[int, int] = {}  # hash of a vector -> its row
        self._asked: list[list[tuple[int, str]]] = []  # of a row: (how many were added before, id), oldest first
        self._vectors = np.empty((len(ids) + 8, vectors.shape[1]), np.float32)  # the first len(self._asked) in use
        for id, vector in zip(ids, vectors, strict=True):
            self.add(id, vector)

    def near(self, query: np.ndarray) -> list[str]:
        """Return the interactions whose questions lie near, the newest first."""
        cosines = self._vectors[: len(self._asked)] @ query
        rows = np.flatnonzero(cosines >= SAME_COSINE).tolist()
        return [id for _, id in sorted(chain.from_iterable(self._asked[row] for row in rows), reverse=True)]

    def add(self, id: str, query: np.ndarray) -> None:
        """Take in an interaction and its question, (native_dim,) float32."""
        key = hash(query.tobytes())
        if key not in self._row:
            if len(self._asked) == len(self._vectors):
                self._drop_oldest()
            self._row[key] = len(self._asked)
            self._vectors[len(self._asked)] = query
            self._asked.append([])
        asked = self._asked[self._row[key]]
        asked.append((self._added, id))
        if len(asked) > self._keep_ids:
            del asked[0]
        self._added += 1

    def _drop_oldest(self) -> None:
        by_age = sorted(range(len(self._asked)), key=lambda row: self._asked[row][-1])
        kept = by_age[-self._keep :]
        place = {row: i for i, row in enumerate(kept)}
        vectors = np.empty((2 * len(kept) + 8, self._vectors.shape[1]), np.float32)
        vectors[: len(kept)] = self._vectors[kept]
        self._vectors = vectors
        self._asked = [self._asked[row] for row in kept]
        self._row = {key: place[row] for key, row in self._row.items() if row in place}


class RatedQuestions:
    """The questions whose answers were rated, by namespace, used by one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[str, Questions] = {}

    def forget(self) -> None:
        """Read all anew: they were given other vectors, or came from elsewhere."""
        self._known = {}

    def near(self, connection: apsw.Connection, namespace: str, query: np.ndarray) -> list[str]:
        """Return the rated interactions whose questions lie near (native_dim,) `query`, the newest first."""
        return self._of(connection, namespace, len(query)).near(query)

    def add(self, connection: apsw.Connection, namespace: str, id: str, query: np.ndarray) -> None:
        """Take in an interaction that is rated for the first time, before that is stored."""
        self._of(connection, namespace, len(query)).add(id, query)

    def _of(self, connection: apsw.Connection, namespace: str, dim: int) -> Questions:
        if namespace not in self._known:
            which = "i.namespace = ? AND i.id IN (SELECT interaction FROM feedback)"
            self._known[namespace] = read_questions(connection, which, (namespace,), dim, RATED)
        return self._known[namespace]


def read_questions(
    connection: apsw.Connection, which: str, parameters: tuple[object, ...], dim: int, keep: int
) -> Questions:
    """Return the questions of the newest `keep` interactions i that fulfil a condition."""
    rows = fetch(
        connection,
        "SELECT i.id, vector FROM interactions i JOIN vectors ON node = query_node "
        f"WHERE {which} AND length(vector) = ? ORDER BY i.created DESC, i.rowid DESC LIMIT ?",
        (*parameters, 4 * dim, keep),
    )[::-1]
    vectors = vector_of(b"".join(blob for _, blob in rows)).reshape(-1, dim)
    return Questions([id_ for id_, _ in rows], vectors, keep)
