"""Requests that had no answer: what failed, kept without a word of what was asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from ruvllm.memory.later import Later
from ruvllm.memory.store import Store

__all__ = ["Failure", "FailureLog", "read_failures"]

logger = logging.getLogger(__name__)

CAPACITY = 1000  # failures that wait at once; a service that is down makes many alike


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that failed: when (seconds since the epoch), with which class of error, where, with which model."""

    at: float
    kind: str
    detail: str
    model: str


class FailureLog:
    """Failures that wait for their commit; no caller waits for it. Safe from several threads.

    Args:
        interval_s: longest time one waits, and what a crash can lose.
    """

    def __init__(self, store: Store, namespace: str, interval_s: float) -> None:
        self._store = store
        self._namespace = namespace
        self._later = Later(self._write, interval_s)
        self._waiting: list[Failure] = []

    def note(self, kind: str, detail: str, model: str) -> None:
        """Take a failure; past CAPACITY the newest ones are given up."""
        with self._later.lock:
            if self._later.is_closed or len(self._waiting) >= CAPACITY:
                return
            self._waiting.append(Failure(time.time(), kind, detail, model))
            self._later.soon()

    def flush(self) -> None:
        """Write what waits; what cannot be written is given up and logged."""
        self._later.flush()

    def close(self) -> None:
        """Write what waits and take nothing more. May be called twice."""
        self._later.close()

    def _write(self) -> None:
        with self._later.lock:
            failures, self._waiting = self._waiting, []
        if not failures:
            return
        try:
            self._store.write(lambda connection: _insert(connection, self._namespace, failures))
        except Exception as error:
            logger.warning("%d failed requests are not on record: %s", len(failures), error)


def _insert(connection: apsw.Connection, namespace: str, failures: Sequence[Failure]) -> None:
    connection.executemany(
        "INSERT INTO failures (namespace, at, kind, detail, model) VALUES (?, ?, ?, ?, ?)",
        [(namespace, one.at, one.kind, one.detail, one.model) for one in failures],
    )


def read_failures(store: Store, namespace: str, since: float, until: float) -> list[Failure]:
    """Return the requests from `since` until before `until` that had no answer, oldest first."""
    sql = "SELECT at, kind, detail, model FROM failures WHERE namespace = ? AND at >= ? AND at < ? ORDER BY at, id"
    return [Failure(*row) for row in store.rows(sql, (namespace, since, until))]
