"""The background worker: jobs on a schedule, one at a time, in time that nobody else wants."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from ruvllm.config import WorkerConfig
from ruvllm.errors import BrainError
from ruvllm.learning.spare_time import SpareTime
from ruvllm.memory.arguments import checked_call
from ruvllm.memory.jobs import Attempt, JobTable, retry_after_s
from ruvllm.memory.rows import checked_text
from ruvllm.priority import at_idle_priority

__all__ = ["Job", "MustStop", "Worker"]

logger = logging.getLogger(__name__)

SLICE_S = 0.005  # of processor time, after which a job rests so that it keeps to its share
LOOK_S = 5.0  # longest time between two looks at the schedule

MustStop = Callable[[], bool]


def _never() -> bool:
    return False


def _at_once(work: Callable[[], Any]) -> Any:
    return work()


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done again and again: `Job("compression", every_s=3600, body=compress)`.

    Attributes:
        name: under which the store keeps its state.
        body: called with must_stop, which it asks every few milliseconds: while requests run that waits, and it returns
            True when the job is to end at once and to begin anew later. Returns a report that `msgspec` can encode, or
            None where there was nothing to do.
        every_s: from the end of one run to the beginning of the next; None: only on demand.
        early: asked every `early_s`: whether to begin before that.
        only_computes: it runs at idle priority. Not for what opens models, whose threads stay and would keep that
            priority, nor for what holds a lock that a request may wait for.
    """

    name: str
    body: Callable[[MustStop], Any]
    every_s: float | None
    early: Callable[[], bool] | None = None
    early_s: float = 10.0
    only_computes: bool = False


@dataclass(slots=True, eq=False)
class _Plan:
    """When a job runs next, by the monotonic clock: what is done to the wall clock changes nothing."""

    job: Job
    due: float = math.inf
    look_at: float = 0.0  # when `early` is asked next
    is_early: bool = False
    failed_in_row: int = 0
    began: float = 0.0  # last: of several that want to, the one that has not run for longest begins

    def is_wanted(self, now: float) -> bool:
        job = self.job
        if not self.is_early and job.early is not None and now >= self.look_at:
            self.look_at = now + job.early_s
            self.is_early = job.early()
        return self.is_early or now >= self.due


class Worker(SpareTime):
    """Spare time with a schedule. Safe to share between threads; `start` begins it, `run` does a job in the foreground.

    A job begins after `idle_s` without a request, or, when it is due for as long as its interval, between two requests.
    While requests run it waits where it is, but no longer than `HOLD_S`: they may wait for what it holds. One job runs
    at a time, scheduled or not; what stops it (that, `pause`, `run`, `close`, a kill) has it begin anew later. One that
    fails is tried again after a minute, then two, four, and so on.
    """

    def __init__(self, table: JobTable, jobs: Sequence[Job], config: WorkerConfig) -> None:
        super().__init__()
        self._table = table
        self._config = config
        self._plans = {job.name: _Plan(job) for job in jobs}
        self._starts_at = math.inf
        self._is_enrolled = False
        self._is_paused = False
        self._foreground = 0  # callers that want the background to keep still
        self._one_job = threading.Lock()
        self._at_exit = _close_later(weakref.ref(self))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the jobs, in the order in which they were given."""
        return tuple(self._plans)

    @property
    def is_paused(self) -> bool:
        """Whether no scheduled job begins until `resume`."""
        return self._is_paused

    def start(self) -> None:
        """Follow the schedule, from `worker.start_after_s` on."""
        with self._changed:
            self._starts_at = time.monotonic() + self._config.start_after_s
            self._start()
        atexit.register(self._at_exit)

    def pause(self) -> None:
        """Stop the running scheduled job and begin none until `resume`; returns at once."""
        with self._changed:
            self._is_paused = True
            self._wake()

    def resume(self) -> None:
        """Follow the schedule again."""
        with self._changed:
            self._is_paused = False
            self._wake()

    def close(self) -> None:
        """Stop the running job, as soon as it asks, and drop the others. May be called twice."""
        super().close()
        atexit.unregister(self._at_exit)

    def run(self, name: str, cancelled: MustStop = _never) -> Any:
        """Do a job now, in this thread, and return its report; the background keeps still meanwhile.

        Raises:
            TypeError, ValueError: there is no such job.
        """
        checked_call(cancelled, "cancelled")
        if checked_text(name, "name") not in self._plans:
            raise ValueError(f"name must be one of {', '.join(sorted(self._plans))} ({name!r})")
        with self.alone():
            return self._do(self._plans[name], cancelled)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no job run while the body does: the running one is stopped, and begun anew after it."""
        with self._changed:
            self._foreground += 1
            self._wake()
        try:
            with self._one_job:
                yield
        finally:
            with self._changed:
                self._foreground -= 1
                self._wake()

    # -- the schedule ------------------------------------------------------------------------------------------------

    def _scheduled(self) -> tuple[Callable[[], None] | None, float | None]:
        now = time.monotonic()
        if now < self._starts_at or self._is_over():
            left = self._starts_at - now
            return None, left if 0.0 < left < math.inf else None
        try:
            if not self._enrol(now):
                return None, None
            wanted = [plan for plan in self._plans.values() if plan.is_wanted(now)]
        except Exception:
            logger.exception("the schedule of background jobs cannot be read")
            return None, LOOK_S
        if not wanted:
            return None, max(min([plan.due - now for plan in self._plans.values()] + [LOOK_S]), 0.0)
        plan = min(wanted, key=lambda plan: (plan.began, plan.due))
        quiet_s = 0.0 if self._requests else now - self._quiet_since
        has_waited = now - plan.due >= (plan.job.every_s or math.inf) and not self._requests
        if quiet_s >= self._config.idle_s or has_waited:
            return lambda: self._run_scheduled(plan), None
        return None, max(self._config.idle_s - quiet_s, SLICE_S)

    def _enrol(self, now: float) -> bool:
        """Read once when each job is due; wall times are drawn in to its interval from now.

        Returns False while a job runs in the foreground: it would count as one that ran when its process ended.
        """
        if self._is_enrolled:
            return True
        if not self._one_job.acquire(blocking=False):
            return False
        try:
            wall = time.time()
            states = self._table.enrol([(plan.job.name, plan.job.every_s) for plan in self._plans.values()], wall)
            for name, plan in self._plans.items():
                state = states[name]
                plan.due = math.inf if state.due is None else now + state.due - wall
                plan.failed_in_row = state.failed_in_row
        finally:
            self._one_job.release()
        self._is_enrolled = True
        return True

    def _run_scheduled(self, plan: _Plan) -> None:
        must_stop = self._paced()
        try:
            with self._one_job:
                self._do(plan, must_stop, at_idle_priority if plan.job.only_computes else _at_once)
        except Exception:
            logger.exception("background job %s failed", plan.job.name)

    def _do(self, plan: _Plan, must_stop: MustStop, run: Callable[[Callable[[], Any]], Any] = _at_once) -> Any:
        """Run a job and keep in the store what came of it."""
        job, was_due, was_stopped = plan.job, plan.due, False

        def asked() -> bool:
            nonlocal was_stopped
            was_stopped = was_stopped or must_stop()
            return was_stopped

        plan.began, at, started = time.monotonic(), time.time(), time.perf_counter()
        self._postpone(plan, retry_after_s(plan.failed_in_row + 1, job.every_s))  # whatever fails from here on
        try:
            self._table.begin(job.name, job.every_s, at)
            report = run(lambda: job.body(asked))
        except Exception as error:
            plan.failed_in_row, plan.is_early, plan.look_at = plan.failed_in_row + 1, False, plan.due
            with _kept_if_it_can_be(job.name):
                self._table.failed(job.name, f"{type(error).__name__}: {error}", self._wall(plan))
            raise
        except BaseException:  # Ctrl-C
            plan.due = was_due
            self._table.stopped(job.name)
            raise
        if was_stopped:
            plan.due = was_due
            self._table.stopped(job.name)
            return report
        plan.failed_in_row, plan.is_early = 0, False
        self._postpone(plan, job.every_s)
        attempt = None
        if report is not None:
            attempt = Attempt(at, time.perf_counter() - started, msgspec.to_builtins(report))
        with _kept_if_it_can_be(job.name):
            self._table.finished(job.name, attempt, self._wall(plan), time.time())
        return report

    def _postpone(self, plan: _Plan, seconds: float | None) -> None:
        now = time.monotonic()
        plan.due = math.inf if seconds is None else now + seconds
        plan.look_at = now + plan.job.early_s

    def _wall(self, plan: _Plan) -> float | None:
        return None if math.isinf(plan.due) else time.time() + plan.due - time.monotonic()

    def _is_over(self) -> bool:
        return self._is_closing or self._is_paused or self._foreground > 0

    def _paced(self) -> MustStop:
        """Return must_stop of one scheduled run: it waits while requests run, and so long that the run takes no more
        than its share of one processor's time; of the calling thread's time, as that of others is not known."""
        since, used = 0.0, 0.0

        def must_stop() -> bool:
            nonlocal since, used
            now, cpu = time.monotonic(), time.thread_time()
            if not since:
                since, used = now, cpu
            until = 0.0
            if cpu - used >= SLICE_S:
                until = since + (cpu - used) / self._config.cpu_share
            is_free = self._hold(until, self._is_over)
            if until:
                since, used = max(now, until), cpu
            return self._is_over() or not is_free

        return must_stop


@contextmanager
def _kept_if_it_can_be(name: str) -> Iterator[None]:
    """Let what a job did, or failed of, stand where the store cannot take it down: the disk may be full."""
    try:
        yield
    except BrainError as error:
        logger.warning("what came of job %s is not in its history: %s", name, error)


def _close_later(worker: weakref.ref[Worker]) -> Callable[[], None]:
    def close() -> None:
        alive = worker()
        if alive is not None:
            alive.close()

    return close
