"""Answered requests as rows: written on probation, read back as turns and records."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.feedback import read_feedback
from ruvllm.memory.history import end_nodes
from ruvllm.memory.rows import as_unit_rows, checked_text, insert_edge, insert_node
from ruvllm.memory.space import remember_embedder
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType, Embedder, Feedback, FinishReason, Interaction, NodeType, Route, Turn

__all__ = ["Record", "commit_interactions", "insert_interaction", "read_record", "read_sessions", "read_turns"]

logger = logging.getLogger(__name__)

PROBATION_TRUST = 0.3  # of an answer nobody has confirmed yet
USED_WEIGHT, SHOWN_WEIGHT = 0.6, 0.4


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request as it is stored; a text or node is None when it was forgotten since."""

    id: str
    namespace: str
    session: str | None
    created: float
    query: str | None
    answer: str | None
    query_node: int | None
    answer_node: int | None
    source_ids: tuple[int, ...]
    used_ids: tuple[int, ...]
    route: Route
    timings_ms: dict[str, float]
    confidence: float | None
    finish_reason: FinishReason
    feedback: Feedback | None


def commit_interactions(
    store: Store, group: Sequence[Interaction], embedder: Embedder, *, min_quality: float = 0.0
) -> int:
    """Store a group in one transaction, embedding what came without vectors; return how many could not be stored.

    An answer of less confidence than `min_quality` is kept with its turn, but no search finds it.
    """
    sound = []
    for one in group:
        try:
            checked_text(one.query, "query")
            checked_text(one.answer, "answer")
            sound.append(one)
        except (ValueError, TypeError) as error:
            logger.error("the record of %s is not stored: %s", one.id, error)
    ready: list[tuple[Interaction, np.ndarray, np.ndarray]] = []
    for one in _with_vectors(sound, embedder.encode):
        try:
            query = as_unit_rows(one.query_vector, embedder.native_dim, "query_vector")[0]
            answer = as_unit_rows(one.answer_vector, embedder.native_dim, "answer_vector")[0]
            ready.append((one, query, answer))
        except (ValueError, TypeError) as error:
            logger.error("the record of %s is not stored: %s", one.id, error)

    def work(connection: apsw.Connection) -> int:
        remember_embedder(connection, embedder)
        return sum(_inserted(connection, *each, min_quality) for each in ready)

    return len(group) - store.write(work)


def _with_vectors(group: Sequence[Interaction], encode: Callable[[list[str]], np.ndarray]) -> list[Interaction]:
    """Return the group with every missing vector filled in by one call of `encode`."""
    missing = [(i, "query") for i, one in enumerate(group) if one.query_vector is None]
    missing += [(i, "answer") for i, one in enumerate(group) if one.answer_vector is None]
    filled = list(group)
    if missing:
        vectors = encode([getattr(group[i], name) for i, name in missing])
        for (i, name), vector in zip(missing, vectors, strict=True):
            filled[i] = replace(filled[i], **{f"{name}_vector": vector})
    return filled


def _inserted(
    connection: apsw.Connection, interaction: Interaction, query: np.ndarray, answer: np.ndarray, min_quality: float
) -> bool:
    """Insert one record in a savepoint of its own; log what is wrong with it and return False when it cannot be."""
    connection.execute("SAVEPOINT record")
    try:
        insert_interaction(connection, interaction, query, answer, min_quality=min_quality)
    except (ValueError, TypeError, AttributeError, apsw.ConstraintError) as error:
        connection.execute("ROLLBACK TO record")
        logger.error("the record of %s is not stored: %s", interaction.id, error)
        return False
    finally:
        connection.execute("RELEASE record")
    return True


def insert_interaction(
    connection: apsw.Connection,
    interaction: Interaction,
    query_vector: np.ndarray,
    answer_vector: np.ndarray,
    *,
    min_quality: float = 0.0,
) -> bool:
    """Insert an answered request with its Query and Answer node and their edges; return False when it is there already.

    Query -Follows-> Answer; Answer -Derived-> every source that was shown (its parents); Answer -Cites-> those it used.
    """
    if connection.execute("SELECT 1 FROM interactions WHERE id = ?", (interaction.id,)).get:
        return False
    now, used = interaction.created, set(interaction.used_ids)
    nodes = [
        insert_node(
            connection,
            text,
            vector,
            type=type_,
            namespace=interaction.namespace,
            created=now,
            metadata={"interaction": interaction.id},
            trust=PROBATION_TRUST,
            session=interaction.session,
            on_probation=True,
        )
        for text, vector, type_ in (
            (interaction.query, query_vector, NodeType.QUERY),
            (interaction.answer, answer_vector, NodeType.ANSWER),
        )
    ]
    query, answer = nodes
    if interaction.confidence is not None and interaction.confidence < min_quality:
        end_nodes(connection, [answer], interaction.created)  # it never held
    insert_edge(connection, query, answer, EdgeType.FOLLOWS, weight=0.5, created_by="ask", now=now)
    for source in _existing(connection, interaction.source_ids):
        weight = USED_WEIGHT if source in used else SHOWN_WEIGHT
        insert_edge(connection, answer, source, EdgeType.DERIVED, weight=weight, created_by="ask", now=now)
        if source in used:
            insert_edge(connection, answer, source, EdgeType.CITES, weight=weight, created_by="ask", now=now)
        connection.execute(
            "UPDATE nodes SET use_count = use_count + 1, last_used = max(last_used, ?) WHERE id = ?", (now, source)
        )
    connection.execute(
        "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            interaction.id,
            interaction.namespace,
            interaction.session,
            now,
            query,
            answer,
            json.dumps([int(i) for i in interaction.source_ids]),
            json.dumps([int(i) for i in interaction.used_ids]),
            json.dumps({f.name: getattr(interaction.route, f.name) for f in fields(Route)}, ensure_ascii=False),
            json.dumps({stage: float(ms) for stage, ms in interaction.timings_ms.items()}),
            interaction.confidence,
            interaction.finish_reason,
        ),
    )
    return True


def _existing(connection: apsw.Connection, ids: tuple[int, ...]) -> list[int]:
    """Return those of `ids` that were not deleted between the answer and its record, each once."""
    sql = "SELECT id FROM nodes WHERE id IN (SELECT value FROM json_each(?))"
    return [row[0] for row in fetch(connection, sql, (json.dumps([int(i) for i in ids]),))]


def read_turns(store: Store, namespace: str, session: str, limit: int) -> list[tuple[str, Turn]]:
    """Return (interaction id, turn) of the newest `limit` turns of a session, oldest first; corrections count."""
    rows = store.rows(
        "SELECT i.id, q.text, ifnull(f.correction, a.text), i.created FROM interactions i "
        "JOIN nodes q ON q.id = query_node JOIN nodes a ON a.id = answer_node "
        "LEFT JOIN feedback f ON f.interaction = i.id WHERE i.namespace = ? AND i.session = ? "
        "ORDER BY i.created DESC, i.rowid DESC LIMIT ?",
        (namespace, session, limit),
    )
    return [(id_, Turn(query, answer, created)) for id_, query, answer, created in reversed(rows)]


def read_sessions(store: Store, namespace: str) -> list[str]:
    """Return the names of all sessions, the one used last first."""
    rows = store.rows(
        "SELECT session FROM interactions WHERE namespace = ? AND session IS NOT NULL "
        "GROUP BY session ORDER BY max(created) DESC, session",
        (namespace,),
    )
    return [row[0] for row in rows]


def read_record(store: Store, namespace: str, id: str) -> Record:
    """Return one answered request.

    Raises:
        ValueError: there is none of that id.
    """
    rows = store.rows(
        "SELECT i.session, i.created, q.text, a.text, query_node, answer_node, source_ids, used_ids, route, "
        "timings_ms, confidence, finish_reason FROM interactions i "
        "LEFT JOIN nodes q ON q.id = query_node LEFT JOIN nodes a ON a.id = answer_node "
        "WHERE i.id = ? AND i.namespace = ?",
        (id, namespace),
    )
    if not rows:
        raise ValueError(f"id: there is no answer {id!r} in this brain")
    session, created, query, answer, query_node, answer_node, source_ids, used_ids, route, timings = rows[0][:10]
    confidence, finish_reason = rows[0][10:]
    return Record(
        id=id,
        namespace=namespace,
        session=session,
        created=created,
        query=query,
        answer=answer,
        query_node=query_node,
        answer_node=answer_node,
        source_ids=tuple(json.loads(source_ids)),
        used_ids=tuple(json.loads(used_ids)),
        route=_route(json.loads(route)),
        timings_ms=json.loads(timings),
        confidence=confidence,
        finish_reason=finish_reason,
        feedback=read_feedback(store.rows, id),
    )


def _route(stored: dict[str, Any]) -> Route:
    """Return the route; fields that another version wrote and this one does not know are left out."""
    known = {f.name for f in fields(Route)}
    return Route(**{key: value for key, value in stored.items() if key in known})
