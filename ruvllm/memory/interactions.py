"""Answered requests as rows: written on probation, read back as turns and records."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.decisions import insert_decision
from ruvllm.memory.feedback import read_feedback
from ruvllm.memory.history import end_nodes
from ruvllm.memory.merging import RecentAnswers, take_over
from ruvllm.memory.rows import as_unit_rows, checked_text, insert_nodes, vector_of
from ruvllm.memory.space import remember_embedder
from ruvllm.memory.store import Store
from ruvllm.memory.traces import SAID, insert_trace
from ruvllm.types import EdgeType, Embedder, Feedback, FinishReason, Interaction, NodeType, Route, Turn
from ruvllm.types.graph import PRIVATE

__all__ = [
    "Record",
    "commit_interactions",
    "count_turns",
    "read_answer_vector",
    "read_record",
    "read_timings",
    "read_turns",
]

logger = logging.getLogger(__name__)

_as_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps with an option makes an encoder for every call

PROBATION_TRUST = 0.3  # of an answer nobody has confirmed yet
USED_WEIGHT, SHOWN_WEIGHT = 0.6, 0.4

REFUSED = (ValueError, TypeError, AttributeError, OverflowError, apsw.ConstraintError)  # what is wrong with one record

Credits = Mapping[int, float]
"""Node id -> its part in an answer, in [0, 1]."""

_Ready = tuple[Interaction, np.ndarray, np.ndarray]  # with the vectors of question and answer

ROUTE_FIELDS = [field.name for field in fields(Route)]


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
    quality: float | None = None  # a judge's
    quality_source: str = ""


def commit_interactions(
    store: Store,
    group: Sequence[Interaction],
    embedder: Embedder,
    *,
    min_quality: float = 0.0,
    recent: RecentAnswers | None = None,
    credits: Mapping[str, Credits] | None = None,
    keeps_prompts: bool = False,
    forgotten: Container[int] = frozenset(),
    on_linked: Callable[[Sequence[int]], None] = lambda _: None,
) -> int:
    """Store a group in one transaction, embedding what came without vectors; return how many could not be stored.

    An answer below `min_quality`, by what a calibrated judge said or else by its confidence, is kept with its turn, but
    no search finds it.

    Args:
        recent: of the groups before this one.
        credits: of the shown sources by attribution, by the id of the answer, as far as they are known.
        keeps_prompts: whether what the models were sent is kept for training.
        forgotten: nodes that went with all that was made of them. An answer that was shown one is not stored.
        on_linked: called after the commit with older answers that got edges.
    """
    sound = []
    for one in group:
        try:
            checked_text(one.query, "query")
            checked_text(one.answer, "answer")
            sound.append(one)
        except (ValueError, TypeError) as error:
            logger.error("the record of %s is not stored: %s", one.id, error)
    ready: list[_Ready] = []
    for one in _with_vectors(sound, embedder.encode):
        try:
            query = as_unit_rows(one.query_vector, embedder.native_dim, "query_vector")[0]
            answer = as_unit_rows(one.answer_vector, embedder.native_dim, "answer_vector")[0]
            ready.append((one, query, answer))
        except (ValueError, TypeError) as error:
            logger.error("the record of %s is not stored: %s", one.id, error)

    recent = recent or RecentAnswers()
    recent.require(embedder.id)
    credits = credits or {}

    def insert(connection: apsw.Connection, records: Sequence[_Ready]) -> list[int]:
        linked = []
        with connection:  # a savepoint
            for one, query, answer in records:
                known = connection.execute("SELECT namespace FROM interactions WHERE id = ?", (one.id,)).get
                if known == one.namespace:
                    continue  # it is there already
                if known is not None:
                    raise ValueError("another namespace has an answer of this id")
                linked += _insert_interaction(
                    connection,
                    one,
                    query,
                    answer,
                    recent,
                    credits.get(one.id, {}),
                    min_quality=min_quality,
                    keeps_prompt=keeps_prompts,
                    forgotten=forgotten,
                )
                recent.add(one, query)
        return linked

    def work(connection: apsw.Connection) -> tuple[int, list[int]]:
        remember_embedder(connection, embedder)
        with suppress(*REFUSED):
            return 0, insert(connection, ready)
        failed, linked = 0, []
        for each in ready:  # one cannot be stored; a savepoint for each is dear, FTS5 writes a segment at every one
            try:
                linked += insert(connection, [each])
            except REFUSED as error:
                logger.error("the record of %s is not stored: %s", each[0].id, error)
                failed += 1
        return failed, linked

    failed, _ = store.write(work, after=lambda done: on_linked(done[1]) if done[1] else None)
    return len(group) - len(ready) + failed


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


def _insert_interaction(
    connection: apsw.Connection,
    interaction: Interaction,
    query_vector: np.ndarray,
    answer_vector: np.ndarray,
    recent: RecentAnswers,
    credits: Credits,
    *,
    min_quality: float,
    keeps_prompt: bool,
    forgotten: Container[int],
) -> list[int]:
    """Insert an answered request with its nodes and edges; return older answers that got edges.

    Query -Follows-> Answer; Answer -Derived-> every source that was shown (its parents); Answer -Cites-> those it used.
    Of an answer and its twin the better one is searched; the other is ended, and is no node at all when its words are
    the same.

    Raises:
        ValueError: a source was forgotten while this was answered, or is another namespace's.
    """
    shown = set(interaction.source_ids)
    sources = _sources(connection, interaction)
    if any(node in forgotten for node in shown.difference(sources)):
        raise ValueError("a source was forgotten while it was answered")
    now = interaction.created
    is_calibrated = "@" in interaction.quality_source  # by the ratings of this brain; else 0.5 means nothing
    held_to_be = interaction.quality if is_calibrated else interaction.confidence
    is_sure = held_to_be is None or held_to_be >= min_quality
    twin = recent.twin_of(connection, interaction, query_vector, answer_vector) if is_sure else None
    nodes = [(NodeType.QUERY, interaction.query, query_vector)]
    if twin is None or twin.text != interaction.answer:
        nodes.append((NodeType.ANSWER, interaction.answer, answer_vector))
    query, *own = _insert_nodes(connection, interaction, nodes)
    said: int | None = None  # where another node stands for this answer
    if twin is None:
        answer = own[0]
    elif own and twin.is_beaten_by(interaction):
        answer = own[0]
        take_over(connection, answer, twin.node, now)
    else:
        answer, said = twin.node, own[0] if own else None
    if said is not None or not is_sure:
        end_nodes(connection, own, now)  # it never held
    _insert_edges(connection, interaction, query, [answer] if said is None else [answer, said], sources)
    connection.executemany(
        "UPDATE nodes SET use_count = use_count + 1, last_used = max(last_used, ?) WHERE id = ?",
        [(now, node) for node in ([*sources, answer] if twin is not None else sources)],
    )
    _insert_row(connection, interaction, query, answer, said)
    _insert_credits(connection, interaction.id, [(node, credits[node]) for node in sources if node in credits])
    insert_decision(connection, interaction)
    if keeps_prompt and len(sources) == len(shown):  # else one was forgotten meanwhile
        insert_trace(connection, interaction, query)
    return [answer] if twin is not None else []


def _sources(connection: apsw.Connection, interaction: Interaction) -> list[int]:
    """Return the nodes an answer was shown that were not deleted meanwhile, each once."""
    rows = connection.execute(
        "SELECT id, namespace FROM nodes WHERE id IN (SELECT value FROM json_each(?))",
        (_as_json([int(i) for i in interaction.source_ids]),),
    )
    namespace_of = dict(rows)
    for node, namespace in namespace_of.items():
        if namespace != interaction.namespace:
            raise ValueError(f"source_ids: node {node} is another namespace's")
    return list(namespace_of)


def _insert_nodes(
    connection: apsw.Connection, interaction: Interaction, nodes: Sequence[tuple[NodeType, str, np.ndarray]]
) -> range:
    """Insert nodes of a request, (type, text, vector), on probation; return their ids."""
    metadata = _as_json({"interaction": interaction.id} | ({PRIVATE: True} if interaction.is_private else {}))
    now, session = interaction.created, interaction.session
    rows = [
        (interaction.namespace, type_.value, text, None, metadata, now, now, PROBATION_TRUST, session, 1, None)
        for type_, text, _ in nodes
    ]
    return insert_nodes(connection, rows, [""] * len(nodes), np.stack([vector for *_, vector in nodes]))


def _insert_edges(
    connection: apsw.Connection, interaction: Interaction, query: int, answers: Sequence[int], sources: Sequence[int]
) -> None:
    """Link the question to the first of its answers, and each answer to its sources."""
    now, used = interaction.created, set(interaction.used_ids)
    edges = [(query, answers[0], EdgeType.FOLLOWS.value, 0.5, now)]
    for answer in answers:
        for source in sources:
            if source == answer:  # a turn was shown the answer that it repeats
                continue
            weight = USED_WEIGHT if source in used else SHOWN_WEIGHT
            edges.append((answer, source, EdgeType.DERIVED.value, weight, now))
            if source in used:
                edges.append((answer, source, EdgeType.CITES.value, weight, now))
    connection.executemany(
        "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?5, 'ask') ON CONFLICT DO NOTHING",  # what outcomes did to an older answer stays
        edges,
    )


def _insert_row(
    connection: apsw.Connection, interaction: Interaction, query: int, answer: int, said: int | None
) -> None:
    connection.execute(
        "INSERT INTO interactions (id, namespace, session, created, query_node, answer_node, source_ids, used_ids, "
        "route, timings_ms, confidence, finish_reason, said_node, quality, quality_source, "
        "judge_score) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            interaction.id,
            interaction.namespace,
            interaction.session,
            interaction.created,
            query,
            answer,
            _as_json([int(i) for i in interaction.source_ids]),
            _as_json([int(i) for i in interaction.used_ids]),
            _as_json({name: getattr(interaction.route, name) for name in ROUTE_FIELDS}),
            _as_json({stage: float(ms) for stage, ms in interaction.timings_ms.items()}),
            interaction.confidence,
            interaction.finish_reason,
            said,
            interaction.quality,
            interaction.quality_source,
            interaction.judge_score,
        ),
    )


def _insert_credits(connection: apsw.Connection, id: str, credits: Sequence[tuple[int, float]]) -> None:
    connection.executemany(
        "INSERT INTO credits (interaction, node, credit, decided_by) VALUES (?, ?, ?, 'attribution')",
        [(id, node, credit) for node, credit in credits],
    )


def read_turns(store: Store, namespace: str, session: str, limit: int) -> list[tuple[str, Turn]]:
    """Return (interaction id, turn) of the newest `limit` turns of a session, oldest first; corrections count.

    They follow each other as they were stored, whatever the clock said.
    """
    rows = store.rows(
        f"SELECT i.id, q.text, ifnull(f.correction, {SAID}), i.created, q.metadata ->> '{PRIVATE}' IS 1 "
        "FROM interactions i INDEXED BY interactions_in_session "  # in their order, however many there are
        "JOIN nodes q ON q.id = query_node LEFT JOIN nodes a ON a.id = answer_node "
        "LEFT JOIN feedback f ON f.interaction = i.id WHERE i.namespace = ? AND i.session = ? "
        f"AND {SAID} IS NOT NULL ORDER BY i.rowid DESC LIMIT ?",
        (namespace, session, limit),
    )
    return [
        (id_, Turn(query, answer, created, bool(is_private))) for id_, query, answer, created, is_private in rows[::-1]
    ]


def count_turns(store: Store, namespace: str, session: str, without: Sequence[str]) -> int:
    """Return how many stored turns a session has besides `without`, ids."""
    sql = (  # the index alone counts them; the others are few
        "SELECT (SELECT count(*) FROM interactions INDEXED BY interactions_in_session "
        "WHERE namespace = ?1 AND session = ?2) - (SELECT count(*) FROM json_each(?3) "
        "JOIN interactions i ON i.id = value WHERE namespace = ?1 AND session = ?2)"
    )
    return int(store.value(sql, (namespace, session, json.dumps(list(without)))))


def read_answer_vector(store: Store, namespace: str, id: str) -> np.ndarray | None:
    """Return the (native_dim,) float32 vector of an answer's own words; None where it is not stored, or forgotten."""
    blob = store.value(
        "SELECT vector FROM interactions JOIN vectors ON node = ifnull(said_node, answer_node) "
        "WHERE interactions.id = ? AND namespace = ?",
        (id, namespace),
    )
    return None if blob is None else vector_of(blob)


def read_timings(store: Store, namespace: str, limit: int) -> list[dict[str, float]]:
    """Return the milliseconds by stage of the `limit` requests that were stored last, the newest first."""
    sql = "SELECT timings_ms FROM interactions WHERE namespace = ? ORDER BY rowid DESC LIMIT ?"
    return [json.loads(row[0]) for row in store.rows(sql, (namespace, limit))]


def read_record(store: Store, namespace: str, id: str) -> Record:
    """Return one answered request.

    Raises:
        ValueError: there is none of that id.
    """
    rows = store.rows(
        f"SELECT i.session, i.created, q.text, {SAID}, query_node, answer_node, source_ids, used_ids, route, "
        "timings_ms, confidence, finish_reason, quality, quality_source FROM interactions i "
        "LEFT JOIN nodes q ON q.id = query_node LEFT JOIN nodes a ON a.id = answer_node "
        "WHERE i.id = ? AND i.namespace = ?",
        (id, namespace),
    )
    if not rows:
        raise ValueError(f"id: there is no answer {id!r} in this brain")
    session, created, query, answer, query_node, answer_node, source_ids, used_ids, route, timings = rows[0][:10]
    confidence, finish_reason, quality, quality_source = rows[0][10:]
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
        quality=quality,
        quality_source=quality_source,
    )


def _route(stored: dict[str, Any]) -> Route:
    """Return the route; fields that another version wrote and this one does not know are left out."""
    return Route(**{key: value for key, value in stored.items() if key in ROUTE_FIELDS})
