"""What feedback does: kept once per answer, counted on the answer's edges, a correction becomes a fact."""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace

import apsw
import numpy as np

from ruvllm.memory.rows import delete_nodes, insert_edge, insert_node
from ruvllm.memory.store import fetch
from ruvllm.types import EdgeType, Feedback, NodeType

__all__ = ["apply_feedback", "moved_weight", "quality_of"]

ETA = 0.1  # learning rate of edge weights
USED_CREDIT, SHOWN_CREDIT = 1.0, 0.25


def quality_of(feedback: Feedback) -> float | None:
    """Return the quality in [0, 1] that feedback states: its own, else the rating's, else 1 or 0 by task success."""
    if feedback.quality is not None:
        return feedback.quality
    if feedback.rating is not None:
        return (feedback.rating - 1) / 4
    return None if feedback.task_success is None else float(feedback.task_success)


def is_good(feedback: Feedback) -> bool | None:
    """Return whether the outcome was good; None when quality and task success disagree or say nothing."""
    quality, success = quality_of(feedback), feedback.task_success
    if quality is None:
        return None
    if quality >= 0.5:
        return None if success is False else True
    return None if success is True else False


def moved_weight(weight: float, quality: float, good: bool, credit: float, *, eta: float = ETA) -> float:
    """Return w + a (1 - w) after a good outcome, else w - a w, with a = 2 eta |quality - 0.5| credit."""
    a = 2.0 * eta * abs(quality - 0.5) * credit
    return weight + a * (1.0 - weight) if good else weight - a * weight


def unmoved_weight(weight: float, quality: float, good: bool, credit: float, *, eta: float = ETA) -> float:
    """Return the weight that `moved_weight` started from, within [0, 1]."""
    a = 2.0 * eta * abs(quality - 0.5) * credit
    return min(max((weight - a) / (1.0 - a) if good else weight / (1.0 - a), 0.0), 1.0)


def apply_feedback(
    connection: apsw.Connection,
    interaction: str,
    feedback: Feedback,
    correction_vector: np.ndarray | None,
) -> tuple[list[int], list[int], str]:
    """Merge `feedback` into what was said before about an answer; what it says anew replaces that field's old effect.

    Returns:
        nodes deleted, nodes inserted (the correction's), and their namespace.
    """
    before = _stored(connection, interaction)
    merged = _merged(before, feedback)
    namespace, query, answer, used = fetch(
        connection,
        "SELECT namespace, query_node, answer_node, used_ids FROM interactions WHERE id = ?",
        (interaction,),
    )[0]
    old = [
        row[0]
        for row in connection.execute(
            "SELECT correction_node FROM feedback WHERE interaction = ? AND correction_node IS NOT NULL", (interaction,)
        )
    ]
    corrects = correction_vector is not None and (before is None or merged.correction != before.correction or not old)
    if merged == before and not corrects:
        return [], [], namespace
    now = time.time()
    if answer is not None:
        _move_edges(connection, answer, set(json.loads(used)), before, merged, now)
    connection.execute(
        "INSERT INTO feedback (interaction, rating, quality, task_success, correction, updated) "
        "VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (interaction) DO UPDATE SET rating = excluded.rating, quality = excluded.quality, "
        "task_success = excluded.task_success, correction = excluded.correction, updated = excluded.updated",
        (interaction, merged.rating, merged.quality, merged.task_success, merged.correction, now),
    )
    if correction_vector is None or not corrects:
        return [], [], namespace
    delete_nodes(connection, old)
    new = _insert_correction(connection, interaction, merged.correction or "", correction_vector, namespace, query, now)
    connection.execute("UPDATE feedback SET correction_node = ? WHERE interaction = ?", (new, interaction))
    if answer is not None:
        connection.execute(
            "UPDATE nodes SET trust = 0.0, metadata = json_set(metadata, '$.superseded_by', ?) WHERE id = ?",
            (new, answer),
        )
    return old, [new], namespace


def _merged(before: Feedback | None, feedback: Feedback) -> Feedback:
    said = {f.name: getattr(feedback, f.name) for f in fields(Feedback)}
    said = {name: value for name, value in said.items() if value is not None}
    return Feedback(**said) if before is None else replace(before, **said)


def _stored(connection: apsw.Connection, interaction: str) -> Feedback | None:
    sql = "SELECT rating, quality, task_success, correction FROM feedback WHERE interaction = ?"
    rows = fetch(connection, sql, (interaction,))
    if not rows:
        return None
    rating, quality, success, correction = rows[0]
    return Feedback(rating, quality, None if success is None else bool(success), correction)


def _move_edges(
    connection: apsw.Connection, answer: int, used: set[int], before: Feedback | None, merged: Feedback, now: float
) -> None:
    """Take the old outcome off the edges from the answer to its sources and put the new one on."""
    sql = "SELECT dst, type, weight, success, failure FROM edges WHERE src = ? AND created_by = 'ask'"
    for dst, type_, weight, success, failure in fetch(connection, sql, (answer,)):
        credit = USED_CREDIT if dst in used else SHOWN_CREDIT
        for outcome, step, move in ((before, -1, unmoved_weight), (merged, 1, moved_weight)):
            good = is_good(outcome) if outcome is not None else None
            quality = quality_of(outcome) if outcome is not None else None
            if good is not None and quality is not None:
                weight = move(weight, quality, good, credit)
                success, failure = success + step * good, failure + step * (not good)
        connection.execute(
            "UPDATE edges SET weight = ?, success = ?, failure = ?, last_used = ? "
            "WHERE src = ? AND dst = ? AND type = ?",
            (weight, max(success, 0), max(failure, 0), now, answer, dst, type_),
        )


def _insert_correction(
    connection: apsw.Connection,
    interaction: str,
    correction: str,
    vector: np.ndarray,
    namespace: str,
    query: int | None,
    now: float,
) -> int:
    """Insert what the user said is right: a fact of full trust, searched at once, found by its question's words too."""
    question = connection.execute("SELECT text FROM nodes WHERE id = ?", (query,)).get
    node = insert_node(
        connection,
        correction,
        vector,
        type=NodeType.FACT,
        namespace=namespace,
        created=now,
        source=f"feedback:{interaction}",
        metadata={"corrects": interaction} | ({"question": question} if question else {}),
    )
    if query is not None:
        insert_edge(connection, node, query, EdgeType.DERIVED, weight=1.0, created_by="feedback", now=now)
    return node
