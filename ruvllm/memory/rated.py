"""Rated answers as they stand in the store: what a judge is calibrated on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from ruvllm.memory.feedback import outcome_of, read_feedback
from ruvllm.memory.rows import title_of
from ruvllm.memory.store import Store
from ruvllm.types import FinishReason

__all__ = ["RatedAnswer", "read_rated_answers"]


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """An answer, the (title, text) of each source it was shown that still exists, and the quality its rating states."""

    id: str
    query: str
    answer: str
    sources: tuple[tuple[str, str], ...]
    logprobs: tuple[float, ...]  # the mean alone; empty where it is not known
    finish_reason: FinishReason
    quality: float


def read_rated_answers(store: Store, namespace: str, limit: int) -> list[RatedAnswer]:
    """Return the newest `limit` answers about which a user or a task said something, oldest first.

    What was forgotten since, in whole or in part, is left out.
    """
    rows = store.rows(
        "SELECT i.id, q.text, ifnull(s.text, a.text), i.source_ids, i.confidence, i.finish_reason FROM interactions i "
        "JOIN nodes q ON q.id = i.query_node JOIN nodes a ON a.id = i.answer_node "
        "LEFT JOIN nodes s ON s.id = i.said_node "
        "WHERE i.namespace = ? AND EXISTS (SELECT 1 FROM feedback f WHERE f.interaction = i.id) "
        "ORDER BY i.created DESC, i.rowid DESC LIMIT ?",
        (namespace, limit),
    )
    found = []
    for id_, query, answer, source_ids, confidence, finish_reason in reversed(rows):
        outcome = outcome_of(read_feedback(store.rows, id_))
        wanted = json.loads(source_ids)
        rows_of_sources = store.rows(
            "SELECT id, text, metadata FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (source_ids,)
        )
        texts = {node: (title_of(json.loads(metadata)), text) for node, text, metadata in rows_of_sources}
        if outcome is None or outcome.is_good is None or len(texts) < len(set(wanted)):
            continue
        logprobs = (math.log(max(confidence, 1e-9)),) if confidence is not None else ()
        sources = tuple(texts[node] for node in wanted)
        found.append(RatedAnswer(id_, query, answer, sources, logprobs, finish_reason, outcome.quality))
    return found
