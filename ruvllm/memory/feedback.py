"""What feedback does: kept once per answer, it moves the answer's edges; marks decide credit, corrections are facts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import apsw
import numpy as np

from ruvllm.config import LearningConfig
from ruvllm.memory.concepts import concepts_of_only, hide_concepts_of
from ruvllm.memory.corrections import asked_by, insert_correction, settle_corrections
from ruvllm.memory.decisions import rate
from ruvllm.memory.history import Change
from ruvllm.memory.links import EdgeRow
from ruvllm.memory.outcomes import Outcome, credits_for, replace_outcome
from ruvllm.memory.rows import delete_nodes, insert_edge
from ruvllm.memory.signals import drop_signal
from ruvllm.memory.store import fetch
from ruvllm.types import EdgeType, Feedback

__all__ = ["FeedbackChanges", "apply_feedback", "outcome_of", "read_feedback", "read_outcomes"]

Rows = Callable[..., list[tuple[Any, ...]]]
"""Runs a query and returns its rows."""


@dataclass(frozen=True, slots=True)
class FeedbackChanges:
    """What feedback changed, for all that is derived: nodes deleted, nodes inserted, edges moved, concepts that are
    not found any more, and what became of other corrections."""

    removed: list[int] = field(default_factory=list)
    inserted: list[int] = field(default_factory=list)
    edges: list[EdgeRow] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    settled: Change = field(default_factory=Change)


def outcome_of(feedback: Feedback | None) -> Outcome | None:
    """Return the outcome that feedback states: its quality, else its rating's, else 1 or 0 by task success.

    Who only marks sources, one of them as helpful, says that the answer was good.
    """
    if feedback is None:
        return None
    return _outcome(feedback.rating, feedback.quality, feedback.task_success, any(feedback.marks.values()))


def _outcome(rating: int | None, quality: float | None, success: bool | None, has_helped: bool) -> Outcome | None:
    if quality is not None:
        return Outcome(quality, success)
    if rating is not None:
        return Outcome((rating - 1) / 4, success)
    if success is not None:
        return Outcome(float(success), success)
    return Outcome(1.0) if has_helped else None


def read_outcomes(rows: Rows, interactions: Sequence[str]) -> dict[str, Outcome]:
    """Return the outcomes that feedback states, by interaction; those of which it states none are left out."""
    said = rows(
        "SELECT interaction, rating, quality, task_success, "
        "EXISTS (SELECT 1 FROM marks m WHERE m.interaction = f.interaction AND helped) "
        "FROM feedback f WHERE interaction IN (SELECT value FROM json_each(?))",
        (json.dumps(list(interactions)),),
    )
    outcomes = {
        interaction: _outcome(rating, quality, None if success is None else bool(success), bool(has_helped))
        for interaction, rating, quality, success, has_helped in said
    }
    return {interaction: outcome for interaction, outcome in outcomes.items() if outcome is not None}


def read_feedback(rows: Rows, interaction: str) -> Feedback | None:
    """Return what was said about an answer; None when nothing was, or nothing of it is left."""
    said = rows(
        "SELECT rating, quality, task_success, correction, rater FROM feedback WHERE interaction = ?", (interaction,)
    )
    marks = rows("SELECT node, helped FROM marks WHERE interaction = ?", (interaction,))
    if not said or (not marks and all(value is None for value in said[0][:4])):
        return None
    rating, quality, success, correction, rater = said[0]
    success = None if success is None else bool(success)
    return Feedback(rating, quality, success, correction, rater, {node: bool(helped) for node, helped in marks})


def apply_feedback(
    connection: apsw.Connection,
    interaction: str,
    feedback: Feedback,
    correction_vector: np.ndarray | None,
    config: LearningConfig,
) -> FeedbackChanges:
    """Merge `feedback` into what was said before about an answer; what it says anew replaces that field's old effect.

    Raises:
        ValueError: it marks a source that the answer did not show, or the answer went with its session meanwhile.
    """
    before = read_feedback(partial(fetch, connection), interaction)
    merged = _merged(before, feedback)
    rows = fetch(
        connection,
        "SELECT namespace, query_node, answer_node, source_ids, used_ids FROM interactions WHERE id = ?",
        (interaction,),
    )
    if not rows:
        raise ValueError(f"id: there is no answer {interaction!r} in this brain")
    namespace, query, answer, shown, used = rows[0]
    shown, used = json.loads(shown), json.loads(used)
    for node in feedback.marks:
        if node not in shown:
            raise ValueError(f"marks: the answer {interaction!r} did not show node {node}")
    old = [
        row[0]
        for row in connection.execute(
            "SELECT correction_node FROM feedback WHERE interaction = ? AND correction_node IS NOT NULL", (interaction,)
        )
    ]
    corrects = correction_vector is not None and (before is None or merged.correction != before.correction or not old)
    if merged == before and not corrects:
        return FeedbackChanges()
    now = time.time()
    connection.execute(
        "INSERT INTO feedback (interaction, rating, quality, task_success, correction, updated, rater) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (interaction) DO UPDATE SET rating = excluded.rating, quality = excluded.quality, "
        "task_success = excluded.task_success, correction = excluded.correction, updated = excluded.updated, "
        "rater = excluded.rater",
        (interaction, merged.rating, merged.quality, merged.task_success, merged.correction, now, merged.rater),
    )
    _insert_marks(connection, interaction, feedback.marks)
    drop_signal(connection, interaction)
    outcome = outcome_of(merged)
    credits = _credits(connection, interaction, merged, answer, shown, used)
    if outcome is not None and outcome.is_good is False:  # then credit is blame, which what helped does not have
        credits |= {node: float(not helped) for node, helped in merged.marks.items() if node in credits}
    moved = replace_outcome(
        connection, namespace, interaction, outcome, credits, rater=merged.rater, config=config, now=now
    )
    rate(connection, interaction, outcome, merged, now)
    if correction_vector is None or not corrects:
        return FeedbackChanges(edges=moved.edges)
    hidden = hide_concepts_of(connection, old)  # they may quote what is withdrawn
    gone = [*old, *concepts_of_only(connection, old)]
    gone_of = asked_by(connection, old)
    delete_nodes(connection, gone)
    new = insert_correction(connection, interaction, merged.correction or "", correction_vector, namespace, query, now)
    if query is not None:
        insert_edge(connection, new, query, EdgeType.DERIVED, weight=1.0, created_by="feedback", now=now)
    connection.execute("UPDATE feedback SET correction_node = ? WHERE interaction = ?", (new, interaction))
    if answer is not None:
        connection.execute(
            "UPDATE nodes SET trust = 0.0, metadata = json_set(metadata, '$.superseded_by', ?) WHERE id = ?",
            (new, answer),
        )
    settled = settle_corrections(connection, asked_by(connection, [new]), gone_of, now)
    return FeedbackChanges(gone, [new], moved.edges, hidden, settled)


def _merged(before: Feedback | None, feedback: Feedback) -> Feedback:
    if before is None:
        return feedback
    said = {f.name: getattr(feedback, f.name) for f in fields(Feedback)}
    said = {name: value for name, value in said.items() if value is not None}
    return replace(before, **said | {"marks": {**before.marks, **feedback.marks}})


def _insert_marks(connection: apsw.Connection, interaction: str, marks: Mapping[int, bool]) -> None:
    """Keep marks, and the credit they decide, of sources that still exist."""
    each = [(interaction, int(helped), node) for node, helped in marks.items()]
    connection.executemany("INSERT OR REPLACE INTO marks SELECT ?, id, ? FROM nodes WHERE id = ?", each)
    connection.executemany("INSERT OR REPLACE INTO credits SELECT ?, id, ?, 'mark' FROM nodes WHERE id = ?", each)


def _credits(
    connection: apsw.Connection,
    interaction: str,
    said: Feedback,
    answer: int | None,
    shown: list[int],
    used: list[int],
) -> dict[int, float]:
    """Return the credit of the answer and of its sources; where only marks were given, nothing was said of others."""
    if any(value is not None for value in (said.quality, said.rating, said.task_success)):
        return credits_for(connection, interaction, answer, shown, used)
    credits = {node: float(helped) for node, helped in said.marks.items()}
    return credits if answer is None else credits | {answer: 1.0}
