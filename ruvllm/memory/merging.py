"""Answers that say again what an answer of their session said: one of the two is searched."""

from __future__ import annotations

from dataclasses import dataclass

import apsw
import numpy as np

from ruvllm.memory.duplicates import SAME_COSINE, say_the_same
from ruvllm.memory.history import end_nodes
from ruvllm.memory.near_questions import Questions, read_questions
from ruvllm.memory.rows import vector_of
from ruvllm.memory.store import fetch
from ruvllm.types import EdgeType, Interaction

__all__ = ["RecentAnswers", "Twin", "take_over"]

RECENT = 256  # turns of a session, the newest, that an answer is at least compared with
SESSIONS = 32  # kept in memory, at most 25 MB


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
    """Finds twins among the newest answers of the sessions that were written last, used by one thread at a time.

    Answers on probation are private: without a session, and beyond it, nothing is a twin.
    """

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str], Questions] = {}  # the one used last at the end
        self._embedder = ""

    def forget(self) -> None:
        """Read all sessions anew."""
        self._sessions = {}

    def require(self, embedder: str) -> None:
        """Read all sessions anew when their vectors are by another embedder."""
        if embedder != self._embedder:
            self._sessions, self._embedder = {}, embedder

    def twin_of(
        self, connection: apsw.Connection, interaction: Interaction, query: np.ndarray, answer: np.ndarray
    ) -> Twin | None:
        """Return the newest twin of an answer that is not stored yet; vectors are (native_dim,), unit length."""
        if interaction.session is None:
            return None
        near = self._session(connection, interaction.namespace, interaction.session, len(query)).near(query)
        twins = (_checked(connection, id_, interaction, answer) for id_ in near)
        return next((twin for twin in twins if twin is not None), None)

    def add(self, interaction: Interaction, query: np.ndarray) -> None:
        """Take in a record that was just stored."""
        known = self._sessions.get((interaction.namespace, interaction.session or ""))
        if known is not None:
            known.add(interaction.id, query)

    def _session(self, connection: apsw.Connection, namespace: str, session: str, dim: int) -> Questions:
        known = self._sessions.pop((namespace, session), None) or read_questions(
            connection, "i.namespace = ? AND i.session = ?", (namespace, session), dim, RECENT
        )
        self._sessions[namespace, session] = known
        if len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return known


def _checked(connection: apsw.Connection, id: str, interaction: Interaction, answer: np.ndarray) -> Twin | None:
    """Return the answer in force of an interaction whose question is near, when it is a twin."""
    rows = fetch(
        connection,
        "SELECT a.id, a.text, vector, q.text, "
        "a.probation AND a.metadata ->> 'decided' IS NULL AND a.metadata ->> 'superseded_by' IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM interactions o JOIN feedback ON interaction = o.id "
        "WHERE o.answer_node = a.id), (SELECT max(confidence) FROM interactions o WHERE o.answer_node = a.id) "
        "FROM interactions i JOIN nodes q ON q.id = i.query_node "
        "JOIN nodes a ON a.id = i.answer_node JOIN vectors ON node = a.id "
        "WHERE i.id = ? AND i.namespace = ? AND i.session = ? AND a.session = i.session "
        "AND a.tier = 'hot' AND a.ended IS NULL AND length(vector) = ?",
        (id, interaction.namespace, interaction.session, 4 * len(answer)),
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
