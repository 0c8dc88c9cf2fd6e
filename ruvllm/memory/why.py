"""Why an answer is what it is: all that is stored of it, and where its sources stand in the ranking of today."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ruvllm.config import LearningConfig
from ruvllm.memory.decay import half_lives, weight_left
from ruvllm.memory.feedback import read_feedback
from ruvllm.memory.interactions import Record
from ruvllm.memory.rows import EDGE_COLUMNS, edge_of, fetch_nodes, title_of
from ruvllm.memory.store import Store
from ruvllm.types import Edge, Feedback, FinishReason, Hit, Hits, Node, Route, SignalKind, Tier

__all__ = ["Why", "WhyEdge", "WhySource", "explain_answer"]

SourceState = Literal["searched", "on probation", "replaced", "archived", "forgotten"]
AnswerState = Literal["on probation", "promoted", "superseded", "ended", "forgotten"]


@dataclass(frozen=True, slots=True)
class WhySource:
    """A source as the answer showed it, and what memory makes of it now.

    Attributes:
        number: its place in the prompt of then, which begins with the passages nearest to the question.
        rank: its place among what a search finds today, None where it is not found.
        credit: its part in the answer, in [0, 1], decided by a "mark", by "attribution", or by "use" alone.
        helped: what somebody marked.
        hit: what today's search says of it: score, similarity, rank by words, the reason and the path that led there.
        attention: its weight in the ranking, which its trust is multiplied with for the score.
    """

    number: int
    node_id: int
    title: str | None
    source: str | None
    text: str
    state: SourceState
    was_used: bool
    credit: float
    credit_by: str
    helped: bool | None = None
    trust: float = 0.0
    rank: int | None = None
    hit: Hit | None = None
    attention: float | None = None


@dataclass(frozen=True, slots=True)
class WhyEdge:
    """An edge among an answer and its sources; `edge.weight` is what is left of it now.

    `moved` is how far outcomes moved it, all together, as far as that has not faded; `moved_here` what was said about
    this answer did.
    """

    edge: Edge
    moved: float
    moved_here: float


@dataclass(frozen=True, slots=True, repr=False)
class Why:
    """How an answer came about and what has become of it since.

    What was shown, the route, the feedback and the edges are read from the store. How memory ranks is not stored: rank,
    score and path are those of today, by the question's stored vector, as if it were asked again in its session.

    Attributes:
        confidence: the reader's, the mean probability of its words.
        quality: of the answer, said by `quality_source`: "user", "task" or "judge", else the judge that saw it first by
            its name (docs/judge.md); None where nobody did.
        newcomers: what is among the best of today, as many as were shown, and was not there yet.
        correction: the node that a user's correction became.
        signal: what somebody did after the answer, where they said nothing (`SignalsConfig`).
        versions: what is in force now: of the ranking and of the router, 0 for the untrained.
    """

    id: str
    session: str | None
    created: float
    question: str | None
    question_node: int | None
    answer: str | None
    answer_node: int | None
    answer_state: AnswerState
    trust: float | None
    finish_reason: FinishReason
    confidence: float | None
    quality: float | None
    quality_source: str
    route: Route
    sources: tuple[WhySource, ...]
    edges: tuple[WhyEdge, ...]
    newcomers: tuple[Hit, ...]
    feedback: Feedback | None
    correction: int | None
    signal: SignalKind | None
    versions: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        from ruvllm.memory.why_shown import why_text

        return why_text(self)

    def _repr_html_(self) -> str:
        from ruvllm.memory.why_shown import why_html

        return why_html(self)


def explain_answer(
    store: Store, record: Record, hits: Hits | None, config: LearningConfig, versions: Mapping[str, int]
) -> Why:
    """Return why an answer is what it is.

    Args:
        hits: what a search finds for its question now, best first, with paths; None where the question is gone.
    """
    own = {record.query_node, record.answer_node}
    ranked = [hit for hit in hits or () if hit.node.id not in own and hit.node.metadata.get("interaction") != record.id]
    quality, source = _quality(store, record.id)
    if quality is None:
        quality, source = record.quality, record.quality_source
    node = fetch_nodes(store, [] if record.answer_node is None else [record.answer_node]).get(record.answer_node or 0)
    correction = _one(store, "SELECT correction_node FROM feedback WHERE interaction = ?", record.id)
    return Why(
        id=record.id,
        session=record.session,
        created=record.created,
        question=record.query,
        question_node=record.query_node,
        answer=record.answer,
        answer_node=record.answer_node,
        answer_state=_state_of_answer(store, record, node, correction),
        trust=None if node is None else node.trust,
        finish_reason=record.finish_reason,
        confidence=record.confidence,
        quality=quality,
        quality_source=source,
        route=record.route,
        sources=_sources(store, record, ranked),
        edges=_edges(store, record, correction, config),
        newcomers=tuple(h for h in ranked[: max(len(record.source_ids), 1)] if h.node.created > record.created),
        feedback=read_feedback(store.rows, record.id),
        correction=correction,
        signal=_one(store, "SELECT signal FROM signals WHERE interaction = ?", record.id),
        versions=versions,
    )


def _one(store: Store, sql: str, id: str) -> Any:
    rows = store.rows(sql, (id,))
    return rows[0][0] if rows else None


def _quality(store: Store, id: str) -> tuple[float | None, str]:
    sql = "SELECT quality, ifnull(source, '') FROM tier_outcomes WHERE interaction = ? AND shown = 1"
    rows = store.rows(sql, (id,))
    return (rows[0][0], rows[0][1]) if rows else (None, "")


def _state_of_answer(store: Store, record: Record, node: Node | None, correction: int | None) -> AnswerState:
    if node is None:
        return "forgotten"
    if correction is not None or node.metadata.get("superseded_by") is not None:
        return "superseded"
    if store.value("SELECT ended IS NOT NULL FROM nodes WHERE id = ?", (node.id,)):
        return "ended"
    return "on probation" if node.on_probation else "promoted"


def _sources(store: Store, record: Record, ranked: Sequence[Hit]) -> tuple[WhySource, ...]:
    nodes = fetch_nodes(store, record.source_ids)
    marked = "SELECT node, helped FROM marks WHERE interaction = ?"
    helped = {node: bool(is_good) for node, is_good in store.rows(marked, (record.id,))}
    decided = "SELECT node, credit, decided_by FROM credits WHERE interaction = ?"
    credits = {node: (credit, by) for node, credit, by in store.rows(decided, (record.id,))}
    place = {hit.node.id: rank for rank, hit in enumerate(ranked, start=1)}
    ended = {
        row[0]
        for row in store.rows(
            "SELECT id FROM nodes WHERE ended IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(nodes)),),
        )
    }
    found = []
    for number, id in enumerate(record.source_ids, start=1):
        node, was_used, rank = nodes.get(id), id in record.used_ids, place.get(id)
        credit, by = credits.get(id, (1.0 if was_used else 0.25, "use"))
        hit = None if rank is None else ranked[rank - 1]
        found.append(
            WhySource(
                number=number,
                node_id=id,
                title=(title_of(node.metadata) or None) if node else None,
                source=node.source if node else None,
                text=node.text if node else "",
                state=_state_of_source(node, ended),
                was_used=was_used,
                credit=credit,
                credit_by=by,
                helped=helped.get(id),
                trust=node.trust if node else 0.0,
                rank=rank,
                hit=hit,
                attention=hit.score / node.trust if hit and node and node.trust else None,
            )
        )
    return tuple(found)


def _state_of_source(node: Node | None, ended: set[int]) -> SourceState:
    if node is None:
        return "forgotten"
    if node.id in ended:
        return "replaced"
    if node.tier is Tier.COLD:
        return "archived"
    return "on probation" if node.on_probation else "searched"


def _edges(store: Store, record: Record, correction: int | None, config: LearningConfig) -> tuple[WhyEdge, ...]:
    """Return the edges among an answer, its question, its sources and its correction, those moved most first."""
    among = {*record.source_ids, record.query_node, record.answer_node, correction} - {None}
    lives = half_lives(config)
    left = f"edges.weight * {weight_left(lives)}"
    moved = f"moved * {weight_left(lives, 'max(m.at, edges.decayed)')}"
    of_edge = "FROM edge_moves m WHERE (m.src, m.dst, m.type) = (edges.src, edges.dst, edges.type)"
    rows = store.rows(
        f"SELECT {EDGE_COLUMNS.replace('edges.weight', left)}, (SELECT total({moved}) {of_edge}), "
        f"(SELECT total({moved}) {of_edge} AND m.interaction = :id) FROM edges "
        "WHERE src IN (SELECT value FROM json_each(:nodes)) AND dst IN (SELECT value FROM json_each(:nodes)) "
        "AND ended IS NULL",
        {"id": record.id, "nodes": json.dumps(list(among)), "now": time.time()},
    )
    edges = [WhyEdge(edge_of(row[:-2]), *row[-2:]) for row in rows]
    return tuple(sorted(edges, key=_most_moved))


def _most_moved(one: WhyEdge) -> tuple[object, ...]:
    """Order edges by what a reader sees of them, so that they stay in order while they fade."""
    seen = (-abs(one.moved_here), -abs(one.moved), -one.edge.weight)
    return (*(round(value, 3) for value in seen), one.edge.src, one.edge.dst, one.edge.type)
