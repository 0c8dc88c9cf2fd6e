"""Answers that say again what an answer of their session said: one of the two is searched."""

from __future__ import annotations

from dataclasses import dataclass

import apsw
import numpy as np

from ruvllm.memory.duplicates import SAME_COSINE, say_the_same
from ruvllm.memory.history import end_nodes
from ruvllm.memory.rows import vector_of
from ruvllm.memory.store import fetch
from ruvllm.types import EdgeType, Interaction

__all__ = ["RecentAnswers", "Twin", "take_over"]

RECENT = 256  # turns of a session, the newest, that an answer is compared with


@dataclass(frozen=True, slots=True)
class Twin:
    """An answer that is visible to the session and says nearly the same to nearly the same question.

    `is_open`: it is on probation, and nobody has said anything about it yet.
    """

    node: int
    text: str
    confidence: float
    is_open: bool

    def is_beaten_by(self, interaction: Interaction) -> bool:
        """Return whether the new answer is the better one: surer, with nothing said about the old one."""
        return self.is_open and (interaction.confidence or 0.0) > self.confidence


class RecentAnswers:
    """What the sessions of a group of records were answered last, read in the transaction that stores the group.

    Answers on probation are private: without a session, and beyond it, nothing is a twin.
    """

    def __init__(self, connection: apsw.Connection, room: int) -> None:
        self._connection = connection
        self._room = room  # records in the group
        self._sessions: dict[tuple[str, str], tuple[list[str], np.ndarray]] = {}

    def twin_of(self, interaction: Interaction, query: np.ndarray, answer: np.ndarray) -> Twin | None:
        """Return the newest twin of an answer that is not stored yet; vectors are (native_dim,), unit length."""
        if interaction.session is None:
            return None
        ids, vectors = self._session(interaction.namespace, interaction.session, len(query))
        near = np.flatnonzero(vectors[: len(ids)] @ query >= SAME_COSINE)[::-1]
        twins = (self._checked(ids[i], interaction, answer) for i in near.tolist())
        return next((twin for twin in twins if twin is not None), None)

    def add(self, interaction: Interaction, query: np.ndarray) -> None:
        """Take in a record that was just stored."""
        if interaction.session is not None:
            ids, vectors = self._session(interaction.namespace, interaction.session, len(query))
            vectors[len(ids)] = query
            ids.append(interaction.id)

    def _session(self, namespace: str, session: str, dim: int) -> tuple[list[str], np.ndarray]:
        """Return the ids of the session's interactions, oldest first, and their questions' vectors, (n + room, dim)."""
        known = self._sessions.get((namespace, session))
        if known is None:
            rows = fetch(
                self._connection,
                "SELECT i.id, vector FROM interactions i JOIN vectors ON node = query_node "
                "WHERE i.namespace = ? AND i.session = ? ORDER BY i.created DESC, i.rowid DESC LIMIT ?",
                (namespace, session, RECENT),
            )[::-1]
            vectors = np.empty((len(rows) + self._room, dim), np.float32)
            vectors[: len(rows)] = vector_of(b"".join(blob for _, blob in rows)).reshape(-1, dim)
            known = self._sessions[namespace, session] = [id_ for id_, _ in rows], vectors
        return known

    def _checked(self, id: str, interaction: Interaction, answer: np.ndarray) -> Twin | None:
        """Return the answer in force of an interaction whose question is near, when it is a twin."""
        rows = fetch(
            self._connection,
            "SELECT a.id, a.text, vector, q.text, "
            "a.probation AND a.metadata ->> 'decided' IS NULL AND a.metadata ->> 'superseded_by' IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM interactions o JOIN feedback ON interaction = o.id "
            "WHERE o.answer_node = a.id), (SELECT max(confidence) FROM interactions o WHERE o.answer_node = a.id) "
            "FROM interactions i JOIN nodes q ON q.id = i.query_node "
            "JOIN nodes a ON a.id = i.answer_node JOIN vectors ON node = a.id "
            "WHERE i.id = ? AND a.tier = 'hot' AND a.ended IS NULL AND a.session = i.session",
            (id,),
        )
        for node, text, vector, question, is_open, confidence in rows:
            is_twin = (
                vector_of(vector) @ answer >= SAME_COSINE
                and say_the_same(text, interaction.answer)
                and say_the_same(question, interaction.query)
            )
            if is_twin:
                return Twin(node, text, confidence or 0.0, bool(is_open))
        return None


def take_over(connection: apsw.Connection, new: int, old: int, now: float) -> None:
    """Let a new answer stand for an old one, which is ended: for its requests, its uses and where it came from."""
    end_nodes(connection, [old], now)
    connection.execute(
        "UPDATE interactions SET said_node = ifnull(said_node, answer_node), answer_node = ?1 WHERE answer_node = ?2",
        (new, old),
    )
    connection.execute(
        "UPDATE nodes SET use_count = (SELECT use_count FROM nodes WHERE id = ?2) WHERE id = ?1", (new, old)
    )
    connection.execute(
        "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
        "SELECT ?1, dst, type, weight, last_used, ?3, created_by FROM edges WHERE src = ?2 AND type IN (?4, ?5) "
        "ON CONFLICT DO NOTHING",
        (new, old, now, EdgeType.DERIVED.value, EdgeType.CITES.value),
    )
