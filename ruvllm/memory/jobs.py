"""The state of background jobs in the store: when each ran, what came of it, when it is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import apsw
import msgspec

from ruvllm.memory.store import Store

__all__ = ["Attempt", "JobState", "JobTable", "retry_after_s"]

KEPT = 20  # newest attempts of a job whose reports are kept
FIRST_RETRY_S = 60.0
KILLED = "the process ended while it ran"

_COLUMNS = "name, state, every_s, due, started, finished, runs, failures, failed_in_row, last_error"


@dataclass(frozen=True, slots=True)
class JobState:
    """What the store says of one job. Times are seconds since 1970, None where there was, or will be, none.

    `failures` counts all of them, `failed_in_row` those since the last run that came to its end.
    """

    name: str
    state: Literal["waiting", "running"]
    every_s: float | None
    due: float | None
    started: float | None
    finished: float | None
    runs: int
    failures: int
    failed_in_row: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run that came to its end: when it began, how long it took, and its report, a mapping or a count."""

    at: float
    seconds: float
    report: dict[str, Any] | int


def retry_after_s(failed_in_row: int, every_s: float | None) -> float | None:
    """Return how long after that many failures in a row a job is tried again: doubling, and its interval at most."""
    return None if every_s is None else min(FIRST_RETRY_S * 2.0 ** min(failed_in_row - 1, 20), every_s)


class JobTable:
    """The jobs of one namespace. Every change is durable on return."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace

    def states(self) -> tuple[JobState, ...]:
        """Return all jobs by name."""
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM jobs WHERE namespace = ? ORDER BY name", (self._namespace,))
        return tuple(JobState(*row) for row in rows)

    def attempts(self, name: str) -> tuple[Attempt, ...]:
        """Return the newest attempts of a job, the newest first; none of one that is unknown."""
        found = self._store.value("SELECT attempts FROM jobs WHERE namespace = ? AND name = ?", (self._namespace, name))
        return tuple(msgspec.json.decode(found or "[]", type=list[Attempt]))

    def said(self, name: str) -> str | None:
        """Return what `say` keeps of a job of the whole brain, None where nothing was said."""
        found: str | None = self._store.value("SELECT value FROM meta WHERE key = ?", (f"schedule of {name}",))
        return found

    def say(self, name: str, schedule: str) -> None:
        """Keep what somebody said of when a job of the whole brain is to run, whatever the configuration says."""
        row = (f"schedule of {name}", schedule)
        self._store.write(lambda connection: connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row).get)

    def enrol(self, jobs: Sequence[tuple[str, float | None]], now: float) -> dict[str, JobState]:
        """Take in (name, every_s) of the jobs there are, and return their states by name.

        A due time farther away than the interval, as after the clock was set back, is drawn in. A job that ran when its
        process ended has failed: it is due now, and only where that happened before, too, later.
        """

        def work(connection: apsw.Connection) -> None:
            for name, every_s in jobs:
                values = {"namespace": self._namespace, "name": name, "every_s": every_s, "now": now}
                connection.execute(
                    "INSERT INTO jobs (namespace, name, state, every_s, due) "
                    "VALUES (:namespace, :name, 'waiting', :every_s, :now + :every_s) ON CONFLICT DO UPDATE "
                    "SET every_s = :every_s, due = min(ifnull(due, :now + :every_s), :now + :every_s)",
                    values,
                )
                sql = "SELECT failed_in_row FROM jobs WHERE namespace = ? AND name = ? AND state = 'running'"
                failed_in_row = connection.execute(sql, (self._namespace, name)).get
                if failed_in_row is not None:
                    after_s = retry_after_s(failed_in_row + 1, every_s) if failed_in_row else 0.0
                    self._fail(connection, name, KILLED, None if every_s is None or after_s is None else now + after_s)

        self._store.write(work)
        return {state.name: state for state in self.states()}

    def begin(self, name: str, every_s: float | None, now: float) -> None:
        """Say that a job runs from now on."""
        self._write(
            "INSERT INTO jobs (namespace, name, state, every_s, due, started) "
            "VALUES (:namespace, :name, 'running', :every_s, :now + :every_s, :now) "
            "ON CONFLICT DO UPDATE SET state = 'running', started = :now",
            name,
            every_s=every_s,
            now=now,
        )

    def stopped(self, name: str) -> None:
        """Say that a job was stopped before its end: it stays as due as it was."""
        self._write("UPDATE jobs SET state = 'waiting' WHERE namespace = :namespace AND name = :name", name)

    def finished(self, name: str, attempt: Attempt | None, due: float | None, now: float) -> None:
        """Say that a job came to its end; `attempt` is None where there was nothing to do."""
        attempts = ([] if attempt is None else [attempt]) + list(self.attempts(name))
        self._write(
            "UPDATE jobs SET state = 'waiting', due = :due, finished = :now, runs = runs + 1, failed_in_row = 0, "
            "attempts = :attempts WHERE namespace = :namespace AND name = :name",
            name,
            due=due,
            now=now,
            attempts=msgspec.json.encode(attempts[:KEPT]).decode(),
        )

    def failed(self, name: str, error: str, due: float | None) -> None:
        """Say that a job failed."""
        self._store.write(lambda connection: self._fail(connection, name, error, due))

    def _fail(self, connection: apsw.Connection, name: str, error: str, due: float | None) -> None:
        connection.execute(
            "UPDATE jobs SET state = 'waiting', due = ?, failures = failures + 1, failed_in_row = failed_in_row + 1, "
            "last_error = ? WHERE namespace = ? AND name = ?",
            (due, error, self._namespace, name),
        )

    def _write(self, sql: str, name: str, **values: Any) -> None:
        values |= {"namespace": self._namespace, "name": name}
        self._store.write(lambda connection: connection.execute(sql, values).fetchall())
