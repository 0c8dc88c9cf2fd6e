"""What a judge had said of answers that people rated since: what it is calibrated on."""

from __future__ import annotations

from dataclasses import dataclass

from ruvllm.memory.feedback import read_outcomes
from ruvllm.memory.store import Store

__all__ = ["RatedAnswer", "read_rated_answers"]


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """An answer's score by a judge, before calibration, and the quality that its rating states; both in [0, 1]."""

    id: str
    score: float
    quality: float


def read_rated_answers(store: Store, namespace: str, judge: str, limit: int) -> list[RatedAnswer]:
    """Return the newest `limit` answers that `judge` scored and a user or a task said something about, oldest first.

    Args:
        judge: as in `quality_source`, without the version of a calibration.
    """
    rows = store.rows(
        "SELECT id, judge_score FROM interactions i WHERE namespace = ?1 AND judge_score IS NOT NULL "
        "AND (quality_source = ?2 OR quality_source GLOB ?2 || '@*') "
        "AND EXISTS (SELECT 1 FROM feedback f WHERE f.interaction = i.id) "
        "ORDER BY created DESC, rowid DESC LIMIT ?3",
        (namespace, judge, limit),
    )
    outcomes = read_outcomes(store.rows, [id_ for id_, _ in rows])
    return [
        RatedAnswer(id_, score, outcomes[id_].quality)
        for id_, score in reversed(rows)
        if id_ in outcomes and outcomes[id_].is_good is not None
    ]
