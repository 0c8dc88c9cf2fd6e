"""Work that waits until nobody does: one thread, stopped by the next request and begun again after it."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SpareTime"]

logger = logging.getLogger(__name__)

CAPACITY = 64  # jobs that wait
TRIES = 8  # of one job, which requests interrupt
HOLD_S = 10.0  # longest time that work waits in its midst for the end of requests

Job = Callable[[Callable[[], bool]], bool]
"""Called with a function that says whether to stop now; returns whether it was finished."""


class SpareTime:
    """Runs jobs one after another while no request runs. Safe to share between threads.

    What was stopped `TRIES` times, or still waits at `close`, is dropped: a job may only add to what is known. A child
    that the process forks runs none.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Job, int]] = deque()  # with the tries that each has left
        self._requests = 0  # that run now
        self._quiet_since = time.monotonic()
        self._is_running = False
        self._is_held = False  # work waits for the end of requests
        self._is_woken = False
        self._is_closing = False
        self._thread: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forgotten(weakref.ref(self)))

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
                self._quiet_since = time.monotonic()
                if self._jobs or self._is_held:
                    self._wake()

    def put(self, job: Job) -> None:
        """Take a job, unless too many wait; returns at once."""
        with self._changed:
            if self._is_closing or not self.has_room:
                return
            self._start()
            self._jobs.append((job, TRIES))
            self._wake()

    def flush(self) -> None:
        """Wait until no job that was put is left."""
        with self._changed:
            while self._jobs or self._is_running:
                self._changed.wait()

    def close(self) -> None:
        """Stop the running job and drop the others. May be called twice."""
        with self._changed:
            self._is_closing = True
            self._jobs.clear()
            self._wake()
        if self._thread is not None:
            self._thread.join()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Have the thread run. The lock is held."""
        if self._thread is None and not self._is_closing:
            self._thread = threading.Thread(target=self._run, name="ruvllm-spare-time", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        """Let all who wait look again. The lock is held."""
        self._is_woken = True
        self._changed.notify_all()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        while True:
            with self._changed:
                self._is_woken = False
                if self._is_closing:
                    return None
                if self._jobs and not self._requests:
                    self._is_running = True
                    job, tries = self._jobs.popleft()
                    return lambda: self._try(job, tries)
            work, wait_s = self._scheduled()
            if work is not None:
                return work
            with self._changed:
                if not self._is_woken:
                    self._changed.wait(wait_s)

    def _scheduled(self) -> tuple[Callable[[], None] | None, float | None]:
        """Return what else there is to do now; where nothing is, in how many seconds to ask again, None: when woken."""
        return None, None

    def _try(self, job: Job, tries: int) -> None:
        is_done, was_stopped = True, False

        def must_stop() -> bool:  # once said it holds: the job's parts ask one after another
            nonlocal was_stopped
            was_stopped = was_stopped or self._requests > 0 or self._is_closing
            return was_stopped

        try:
            is_done = job(must_stop)
        except Exception:
            logger.exception("work in spare time failed")
        with self._changed:
            self._is_running = False
            if not is_done and tries > 1 and not self._is_closing:
                self._jobs.appendleft((job, tries - 1))
            self._wake()

    def _hold(self, until: float, is_over: Callable[[], bool]) -> bool:
        """Wait until no request runs and the monotonic clock shows `until`, or it is over.

        Returns False where requests still run after `HOLD_S`: they may wait for what the work holds.
        """
        if not self._requests and time.monotonic() >= until:
            return True
        give_up = time.monotonic() + HOLD_S
        with self._changed:
            self._is_held = True
            try:
                while not is_over() and (left := max(give_up if self._requests else 0.0, until) - time.monotonic()) > 0:
                    self._changed.wait(left)
            finally:
                self._is_held = False
            return not self._requests

    def _forget_thread(self) -> None:
        """Run nothing in a forked child, where there is no thread, and a lock may be held by nobody."""
        self._changed = threading.Condition()
        self._jobs.clear()
        self._thread, self._is_closing = None, True


def _forgotten(spare: weakref.ref[SpareTime]) -> Callable[[], None]:
    def forget() -> None:
        alive = spare()
        if alive is not None:
            alive._forget_thread()

    return forget
