"""What models were sent, kept for training: written with the answer, gone with any text that it is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.feedback import read_feedback
from ruvllm.memory.rows import vector_of
from ruvllm.memory.store import Store, fetch
from ruvllm.types import Feedback, FinishReason, Interaction, Message

__all__ = ["StoredTrace", "TraceSource", "TriedTier", "delete_traces", "insert_trace", "read_traces"]

DAY_S = 86_400.0
TURNS = 50  # newest of a session that a prompt can hold
SAID = "ifnull((SELECT text FROM nodes WHERE id = i.said_node), a.text)"
"""The words of an answer, whichever answer stands for it now."""

_OF_TURNS = (  # the nodes whose words the earlier turns of a prompt are
    "SELECT DISTINCT n.id FROM (SELECT id, query_node, answer_node, said_node FROM interactions "
    "WHERE namespace = ?1 AND session = ?2 AND id <> ?3 ORDER BY created DESC, rowid DESC LIMIT ?4) i "
    "LEFT JOIN feedback f ON f.interaction = i.id "
    "JOIN nodes n ON n.id IN (i.query_node, i.answer_node, i.said_node, f.correction_node) "
    "WHERE n.text IN (SELECT value FROM json_each(?5))"
)


@dataclass(frozen=True, slots=True)
class TraceSource:
    """A passage that was shown.

    Attributes:
        shown: its words in the prompt.
        text: all of its words; those that were shown where it is archived.
        holds: it is neither replaced, ended nor distrusted.
        credit: its part in the answer, in [0, 1], by attribution; None where that is not known.
        helped: what a mark says.
    """

    node: int
    shown: str
    text: str
    metadata: Mapping[str, Any]
    holds: bool
    credit: float | None
    helped: bool | None


@dataclass(frozen=True, slots=True)
class TriedTier:
    """What one tier did on the request; the cheapest comes first where a router knew."""

    tier: str
    shown: bool
    quality: float | None
    answer: str | None


@dataclass(frozen=True, slots=True, eq=False)
class StoredTrace:
    """An answered request with its prompt, and what became of the answer.

    Attributes:
        query_vector: (native_dim,) float32.
        is_promoted: everybody of the namespace finds the answer.
        is_revoked: nobody is to trust it any more.
        decided: "promoted" or "revoked" where the user said so.
        correction_node: what a user said is right, while that is trusted.
        conversation_holds: nothing of the earlier turns was distrusted since.
        expected: the quality that the router expected of its cheapest tier, with that tier's name.
    """

    id: str
    namespace: str
    session: str | None
    created: float
    query: str
    query_vector: np.ndarray | None
    answer: str
    prompt: tuple[Message, ...]
    failures: tuple[str, ...]
    model: str
    student: str
    confidence: float | None
    finish_reason: FinishReason
    quality: float | None
    quality_source: str
    judge_score: float | None
    feedback: Feedback | None
    is_promoted: bool
    is_revoked: bool
    decided: str | None
    correction_node: int | None
    conversation_holds: bool
    used: frozenset[int]
    sources: tuple[TraceSource, ...]
    tried: tuple[TriedTier, ...]
    expected: tuple[str, float] | None


# -- writing ---------------------------------------------------------------------------------------------------------


def insert_trace(connection: apsw.Connection, one: Interaction, query_node: int) -> None:
    """Keep the prompt of an answered request whose sources are all there; nothing where no model was asked."""
    if not one.prompt:
        return
    connection.execute(
        "INSERT INTO traces VALUES (?, ?, ?)",
        (
            one.id,
            json.dumps([[message.role, message.content] for message in one.prompt], ensure_ascii=False),
            json.dumps(one.failures, ensure_ascii=False),
        ),
    )
    nodes: dict[int, tuple[int | None, int | None]] = {query_node: (None, None)}
    nodes |= dict.fromkeys(_turns(connection, one), (None, None))
    nodes |= _spans(one)
    connection.executemany(
        "INSERT INTO trace_nodes VALUES (?, ?, ?, ?)", [(one.id, node, *span) for node, span in nodes.items()]
    )


def _turns(connection: apsw.Connection, one: Interaction) -> list[int]:
    if one.session is None:
        return []
    texts = json.dumps([message.content for message in one.prompt[:-1]])
    return [row[0] for row in fetch(connection, _OF_TURNS, (one.namespace, one.session, one.id, TURNS, texts))]


def _spans(one: Interaction) -> dict[int, tuple[int | None, int | None]]:
    """Return where each shown source stands in the last message, by node."""
    last = one.prompt[-1].content
    spans: dict[int, tuple[int | None, int | None]] = dict.fromkeys(one.source_ids, (None, None))
    for number, (node, text) in enumerate(zip(one.source_ids, one.shown_texts, strict=False), 1):
        label = f"[{number}] "
        at = last.find(f"{label}{text}")
        if at >= 0:
            spans[node] = at + len(label), at + len(label) + len(text)
    return spans


def delete_traces(connection: apsw.Connection, keep_days: float, now: float) -> None:
    """Delete prompts and failures that are older than `keep_days`, in all namespaces."""
    before = now - keep_days * DAY_S
    old = "DELETE FROM traces WHERE interaction IN (SELECT id FROM interactions WHERE created < ?)"
    connection.execute(old, (before,))
    connection.execute("DELETE FROM failures WHERE at < ?", (before,))


# -- reading ---------------------------------------------------------------------------------------------------------

_TRACES = (
    "SELECT i.id, i.session, i.created, q.text, v.vector, "
    f"{SAID}, t.prompt, t.failures, i.route, i.confidence, i.finish_reason, i.quality, i.quality_source, "
    "i.judge_score, a.probation = 0 AND a.ended IS NULL AND a.trust > 0.0, a.trust = 0.0, a.metadata ->> 'decided', "
    "(SELECT c.id FROM feedback f JOIN nodes c ON c.id = f.correction_node "
    "WHERE f.interaction = i.id AND c.trust > 0.0), "
    "i.source_ids, i.used_ids, (SELECT d.estimates FROM decisions d WHERE d.interaction = i.id) "
    "FROM traces t JOIN interactions i ON i.id = t.interaction JOIN nodes q ON q.id = i.query_node "
    "JOIN nodes a ON a.id = i.answer_node LEFT JOIN vectors v ON v.node = q.id "
    "WHERE i.namespace = ?1 AND i.created >= ?2 AND i.created < ?3 AND (?4 IS NULL OR i.id = ?4) "
    f"AND {SAID} IS NOT NULL ORDER BY i.created, i.rowid"
)

_NODES = (
    "SELECT n.id, t.start, t.stop, iif(n.tier = 'hot', n.text, NULL), n.metadata, "
    "n.ended IS NULL, n.trust > 0.0, c.credit, m.helped FROM trace_nodes t JOIN nodes n ON n.id = t.node "
    "LEFT JOIN credits c ON c.interaction = t.interaction AND c.node = n.id AND c.decided_by = 'attribution' "
    "LEFT JOIN marks m ON m.interaction = t.interaction AND m.node = n.id WHERE t.interaction = ?"
)

_TRIED = "SELECT tier, shown, quality, answer FROM tier_outcomes WHERE interaction = ? ORDER BY tier"


def read_traces(store: Store, namespace: str, since: float, until: float, id: str | None = None) -> list[StoredTrace]:
    """Return the requests from `since` until before `until` whose prompts are kept, oldest first; or the one of `id`.

    What was asked or answered must not be forgotten since.
    """
    rows = store.rows(_TRACES, (namespace, since, until, id))
    found = [_stored(store, namespace, row) for row in rows]
    return [one for one in found if one is not None]


def _stored(store: Store, namespace: str, row: Sequence[Any]) -> StoredTrace | None:
    """Return the trace that a row of _TRACES begins; None when it was deleted meanwhile."""
    id, session, created, query, vector, answer, prompt, failures, route, *more = row
    confidence, finish_reason, quality, quality_source, judge_score, *more = more
    is_promoted, is_revoked, decided, correction_node, *lists = more
    shown_ids, used, estimates = (json.loads(stored or "[]") for stored in lists)
    messages = tuple(Message(role, content) for role, content in json.loads(prompt))
    chosen = json.loads(route)
    nodes = {row[0]: row for row in store.rows(_NODES, (id,))}
    if not nodes:  # all go together
        return None
    order = [estimate["tier"] for estimate in estimates]
    tried = [TriedTier(tier, bool(shown), judged, said) for tier, shown, judged, said in store.rows(_TRIED, (id,))]
    return StoredTrace(
        id=id,
        namespace=namespace,
        session=session,
        created=created,
        query=query,
        query_vector=None if vector is None else vector_of(vector),
        answer=answer,
        prompt=messages,
        failures=tuple(json.loads(failures)),
        model=chosen["model"],
        student=chosen.get("student", ""),
        confidence=confidence,
        finish_reason=finish_reason,
        quality=quality,
        quality_source=quality_source,
        judge_score=judge_score,
        feedback=read_feedback(store.rows, id),
        is_promoted=bool(is_promoted),
        is_revoked=bool(is_revoked),
        decided=decided,
        correction_node=correction_node,
        conversation_holds=all(row[6] for row in nodes.values() if row[1] is None),
        used=frozenset(used),
        sources=tuple(_source(nodes[node], messages[-1].content) for node in shown_ids if nodes[node][1] is not None),
        tried=tuple(sorted(tried, key=lambda one: order.index(one.tier) if one.tier in order else len(order))),
        expected=_expected(estimates),
    )


def _source(row: Sequence[Any], last: str) -> TraceSource:
    node, start, stop, text, metadata, is_current, is_trusted, credit, helped = row
    shown = last[start:stop]
    marked = None if helped is None else bool(helped)
    return TraceSource(
        node, shown, text or shown, json.loads(metadata), bool(is_current and is_trusted), credit, marked
    )


def _expected(estimates: Sequence[Mapping[str, Any]]) -> tuple[str, float] | None:
    if not estimates or estimates[0].get("quality") is None:
        return None
    return estimates[0]["tier"], estimates[0]["quality"]
