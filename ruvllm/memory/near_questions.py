"""Questions of answered requests by their vectors, in memory: where to look for answers to nearly the same question.

What is kept here only says where to look: what is there is read in the transaction.
"""

from __future__ import annotations

import apsw
import numpy as np

from ruvllm.memory.duplicates import SAME_COSINE
from ruvllm.memory.rows import vector_of
from ruvllm.memory.store import fetch

__all__ = ["Questions", "RatedQuestions", "read_questions"]

RATED = 20_000  # of a namespace, the newest, at least: 60 MB at most


class Questions:
    """Questions by interaction id, oldest first; of more than twice `keep` the oldest are dropped."""

    def __init__(self, ids: list[str], vectors: np.ndarray, keep: int) -> None:
        self._ids = ids
        self._vectors = vectors  # (capacity, native_dim), the first len(ids) in use
        self._keep = keep

    def near(self, query: np.ndarray) -> list[str]:
        """Return the interactions whose questions lie near, the newest first."""
        cosines = self._vectors[: len(self._ids)] @ query
        return [self._ids[i] for i in np.flatnonzero(cosines >= SAME_COSINE)[::-1]]

    def add(self, id: str, query: np.ndarray) -> None:
        """Take in a question, (native_dim,) float32."""
        if len(self._ids) == len(self._vectors):
            self._ids = self._ids[-self._keep :]
            kept = self._vectors[-self._keep :]
            self._vectors = np.empty((2 * len(kept) + 8, len(query)), np.float32)
            self._vectors[: len(kept)] = kept
        self._vectors[len(self._ids)] = query
        self._ids.append(id)


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
    """Return the newest `keep` questions that fulfil a condition on interactions i."""
    rows = fetch(
        connection,
        "SELECT i.id, vector FROM interactions i JOIN vectors ON node = query_node "
        f"WHERE {which} AND length(vector) = ? ORDER BY i.created DESC, i.rowid DESC LIMIT ?",
        (*parameters, 4 * dim, keep),
    )[::-1]
    vectors = vector_of(b"".join(blob for _, blob in rows)).reshape(-1, dim)
    return Questions([id_ for id_, _ in rows], vectors, keep)
