"""The write-back queue: answered requests reach the disk in groups, off the caller's path."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

from ruvllm.errors import RuvLLMError

__all__ = ["WriteBack"]

logger = logging.getLogger(__name__)

CAPACITY = 4096

T = TypeVar("T")


class WriteBack(Generic[T]):
    """A bounded queue with one thread that commits records of answered requests: a full batch at once, the rest every
    `interval_s`.

    A full queue makes `put` wait for the running commit, never drop. A group that cannot be written is tried once more
    at the next interval and then given up, logged and counted in `failed`, so that no caller waits for a broken disk;
    one whose commit fails for any other reason is committed record by record, so that a bad one loses no other.

    Args:
        commit: makes a group durable and returns how many of it could not be stored.
        interval_s: longest time a record waits for its commit to begin, and what a crash can lose.
        batch: most records in one commit.
    """

    def __init__(self, commit: Callable[[Sequence[T]], int], interval_s: float, batch: int) -> None:
        self._commit = commit
        self._interval_s = interval_s
        self._batch = batch
        self._queue: deque[T] = deque()
        self._due: deque[float] = deque()  # for each in the queue, by the monotonic clock
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._put = 0  # counts of all records so far
        self._settled = 0
        self._urgent = 0  # flush wants everything up to this count settled at once
        self._is_closing = False
        self.failed = 0

    def put(self, record: T) -> None:
        """Take a record; the arrays in it must not be changed afterwards.

        Raises:
            ValueError: the queue is closed, or was while this waited for room.
        """
        with self._changed:
            while len(self._queue) >= CAPACITY:
                self._urgent = self._put
                self._changed.notify_all()
                self._changed.wait()
            if self._is_closing:  # perhaps since it waited
                raise ValueError("the brain is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ruvllm-writeback", daemon=True)
                self._thread.start()
            self._queue.append(record)
            self._due.append(time.monotonic() + self._interval_s)
            self._put += 1
            if len(self._queue) in (1, self._batch):  # between the two the thread waits until the oldest is due
                self._changed.notify_all()

    def pending(self) -> list[T]:
        """Return what is not settled yet, oldest first."""
        with self._changed:
            return list(self._queue)

    def flush(self) -> None:
        """Wait until everything put so far is on disk or given up."""
        with self._changed:
            target = self._put
            self._urgent = max(self._urgent, target)
            self._changed.notify_all()
            while self._settled < target:
                self._changed.wait()

    def close(self) -> None:
        """Drain the queue and stop. May be called twice."""
        self.flush()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        retried = False
        while group := self._next_group():
            try:
                failed = self._commit(group)
            except RuvLLMError as error:
                if not retried:
                    retried = True
                    logger.warning("%d answered requests wait for another try: %s", len(group), error)
                    time.sleep(self._interval_s)
                    continue
                logger.error("%d answered requests could not be stored: %s", len(group), error)
                failed = len(group)
            except Exception:
                failed = self._commit_each(group)
            retried = False
            with self._changed:
                for _ in group:
                    self._queue.popleft()
                    self._due.popleft()
                self.failed += failed
                self._settled += len(group)
                self._changed.notify_all()

    def _commit_each(self, group: Sequence[T]) -> int:
        """Commit the records of a group one by one; return how many could not be stored."""
        failed = 0
        for one in group:
            try:
                failed += self._commit([one])
            except Exception:
                logger.exception("an answered request could not be stored")
                failed += 1
        return failed

    def _next_group(self) -> list[T]:
        """Return the next batch, once it is full, its oldest record is due, or somebody flushes; [] when closing."""
        with self._changed:
            while not self._queue and not self._is_closing:
                self._changed.wait()
            while 0 < len(self._queue) < self._batch and self._urgent <= self._settled and not self._is_closing:
                if not self._changed.wait(max(self._due[0] - time.monotonic(), 0.0)):
                    break
            return list(islice(self._queue, self._batch))
