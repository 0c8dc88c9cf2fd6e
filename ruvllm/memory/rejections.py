"""How often answers were said not to be good ones: what another process must hear of before it gives one again."""

from __future__ import annotations

import apsw

from ruvllm.memory.feedback import outcome_of
from ruvllm.memory.store import Store
from ruvllm.types import Feedback

__all__ = ["count_rejection", "may_stand", "read_rejections"]


def may_stand(feedback: Feedback) -> bool:
    """Return whether an answer of which this was said may be given again: it was called good, and not corrected."""
    outcome = outcome_of(feedback)
    return feedback.correction is None and outcome is not None and bool(outcome.is_good)


def count_rejection(connection: apsw.Connection, namespace: str) -> None:
    """Say that one more answer may not be given again."""
    connection.execute(
        "INSERT INTO rejections VALUES (?, 1) ON CONFLICT (namespace) DO UPDATE SET count = count + 1", (namespace,)
    )


def read_rejections(store: Store, namespace: str) -> int:
    """Return how many there were."""
    return store.value("SELECT count FROM rejections WHERE namespace = ?", (namespace,)) or 0
