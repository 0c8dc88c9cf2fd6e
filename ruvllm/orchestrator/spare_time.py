"""Work that waits until nobody does: one thread, stopped by the next request and begun again after it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SpareTime"]

logger = logging.getLogger(__name__)

CAPACITY = 64  # jobs that wait
TRIES = 8  # of one job, which requests interrupt

Job = Callable[[Callable[[], bool]], bool]
"""Called with a function that says whether to stop now; returns whether it was finished."""


class SpareTime:
    """Runs jobs one after another while no request runs. Safe to share between threads.

    What was stopped `TRIES` times, or still waits at `close`, is dropped: a job may only add to what is known.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Job, int]] = deque()  # with the tries that each has left
        self._requests = 0  # that run now
        self._is_running = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    @property
    def has_room(self) -> bool:
        """Whether `put` would take another job."""
        return len(self._jobs) < CAPACITY

    @contextmanager
    def request(self) -> Iterator[None]:
        """Let no job run while the body does."""
        with self._changed:
            self._requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._requests -= 1
                self._changed.notify_all()

    def put(self, job: Job) -> None:
        """Take a job, unless too many wait; returns at once."""
        with self._changed:
            if self._is_closing or not self.has_room:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ruvllm-spare-time", daemon=True)
                self._thread.start()
            self._jobs.append((job, TRIES))
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until no job is left."""
        with self._changed:
            while self._jobs or self._is_running:
                self._changed.wait()

    def close(self) -> None:
        """Stop the running job and drop the others. May be called twice."""
        with self._changed:
            self._is_closing = True
            self._jobs.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            job, tries = taken
            is_done = True
            try:
                is_done = job(self._must_stop)
            except Exception:
                logger.exception("work in spare time failed")
            with self._changed:
                self._is_running = False
                if not is_done and tries > 1 and not self._is_closing:
                    self._jobs.appendleft((job, tries - 1))
                self._changed.notify_all()

    def _next(self) -> tuple[Job, int] | None:
        with self._changed:
            while not self._is_closing and (self._requests or not self._jobs):
                self._changed.wait()
            if self._is_closing:
                return None
            self._is_running = True
            return self._jobs.popleft()

    def _must_stop(self) -> bool:
        return self._requests > 0 or self._is_closing
