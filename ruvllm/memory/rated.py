"""What a judge had said of answers that people rated since: what it is calibrated on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ruvllm.memory.feedback import read_outcomes
from ruvllm.memory.store import Store

__all__ = ["ONE_OF", "RatedAnswer", "newest_of_each", "read_rated_answers"]

ONE_OF = 20  # of what is learnt from, one question in the same words is at most this part


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """An answer's score by a judge, before calibration, and the quality that its rating states; both in [0, 1]."""

    id: str
    score: float
    quality: float


def newest_of_each(which: str = "1") -> str:
    """Return SQL for the ids of rated answers of a :namespace, to each question in the same words the newest :most.

    Args:
        which: that interactions i have to fulfil.
    """
    return (
        "SELECT id FROM (SELECT i.id, row_number() OVER (PARTITION BY ifnull(q.text, i.id) "
        "ORDER BY i.created DESC, i.rowid DESC) AS nth FROM feedback f JOIN interactions i ON i.id = f.interaction "
        f"LEFT JOIN nodes q ON q.id = i.query_node WHERE i.namespace = :namespace AND {which}) WHERE nth <= :most"
    )


def read_rated_answers(store: Store, namespace: str, judge: str, limit: int) -> list[RatedAnswer]:
    """Return the newest `limit` answers that `judge` scored and a user or a task said something about, oldest first.

    Of one question in the same words the newest are read, as many as make up a ONE_OF-th of the limit: what everybody
    asks, and rates, is not all that there is to know.

    Args:
        judge: as in `quality_source`, without the version of a calibration.
    """
    is_scored = "i.judge_score IS NOT NULL AND (i.quality_source = :judge OR i.quality_source GLOB :judge || '@*')"
    rows = store.rows(
        f"SELECT id, judge_score FROM interactions WHERE id IN ({newest_of_each(is_scored)}) "
        "ORDER BY created DESC, rowid DESC LIMIT :limit",
        {"namespace": namespace, "judge": judge, "limit": limit, "most": math.ceil(limit / ONE_OF)},
    )
    outcomes = read_outcomes(store.rows, [id_ for id_, _ in rows])
    return [
        RatedAnswer(id_, score, outcomes[id_].quality)
        for id_, score in reversed(rows)
        if id_ in outcomes and outcomes[id_].is_good is not None
    ]
