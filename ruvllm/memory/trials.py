"""What the models of a trial did, request by request: figures without words, in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import apsw

from ruvllm.memory.store import Store

__all__ = ["TrialOutcome", "TrialTable"]

_COLUMNS = "student, since, control, treatment, request, session, quality, latency_ms, failed, at"


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How one model of a trial did on one request.

    `student` is on trial `since` that line of the registry's log, `control` the student that answers otherwise, "" for
    the tier's own model; `treatment` says which of the two this is. `session` is a hash, "" outside of sessions.
    `quality` is a judge's, None where nobody judged; of what `failed` neither quality nor latency counts.
    """

    student: str
    since: int
    control: str
    treatment: bool
    request: str
    session: str
    quality: float | None
    latency_ms: float
    failed: bool
    at: float


class TrialTable:
    """The outcomes of all trials of a brain. What is written stays as it is: a decision may rest on it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, outcomes: Sequence[TrialOutcome]) -> None:
        """Keep outcomes in this order; durable on return, and twice counts once."""

        def work(connection: apsw.Connection) -> None:
            connection.executemany(
                f"INSERT INTO trial_outcomes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [astuple(one) for one in outcomes],
            )

        self._store.write(work)

    def last_control(self, student: str, since: int) -> str:
        """Return the control that one phase of a trial was last held against, "" where there are no outcomes."""
        sql = "SELECT control FROM trial_outcomes WHERE student = ? AND since = ? ORDER BY number DESC LIMIT 1"
        return self._store.value(sql, (student, since)) or ""

    def read(self, student: str, since: int, control: str) -> list[TrialOutcome]:
        """Return what is known of one phase of a trial against one control, the oldest first."""
        sql = f"SELECT {_COLUMNS} FROM trial_outcomes WHERE student = ? AND since = ? AND control = ? ORDER BY number"
        rows = self._store.rows(sql, (student, since, control))
        return [
            TrialOutcome(student, since, control, bool(treatment), request, session, quality, ms, bool(failed), at)
            for *_, treatment, request, session, quality, ms, failed, at in rows
        ]
