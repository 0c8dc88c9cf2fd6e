"""ruvllm/learning/worker.py: jobs on a schedule, one at a time, beside requests that they do not hinder."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm.config import WorkerConfig
from ruvllm.errors import BrainError
from ruvllm.learning import spare_time
from ruvllm.learning.worker import Job, MustStop, Worker
from ruvllm.memory.jobs import JobTable
from ruvllm.memory.store import Store

WAIT_S = 10.0
AT_ONCE = WorkerConfig(start_after_s=0.0, idle_s=0.0, cpu_share=1.0)
SOON = 0.001  # seconds: a job that is due again as soon as it has run

Started = Callable[..., Worker]


class Steps:
    """A job's body that goes on in small steps until it is stopped or has done so many."""

    def __init__(self, count: float = float("inf")) -> None:
        self.count = count
        self.steps = 0
        self.runs = 0
        self.has_begun = threading.Event()
        self.has_ended = threading.Event()

    def __call__(self, must_stop: MustStop) -> dict[str, int]:
        self.runs += 1
        done = 0
        while done < self.count and not must_stop():
            done += 1
            self.steps += 1
            self.has_begun.set()
        self.has_ended.set()
        return {"steps": done}


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    store = Store(tmp_path / "brain.db", read_only=False)
    yield JobTable(store, "default")
    store.close()


@pytest.fixture
def started(table: JobTable) -> Iterator[Started]:
    workers: list[Worker] = []

    def start(*jobs: Job, config: WorkerConfig = AT_ONCE) -> Worker:
        workers.append(Worker(table, jobs, config))
        workers[-1].start()
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def eventually(is_so: Callable[[], Any]) -> bool:
    end = time.monotonic() + WAIT_S
    while not is_so() and time.monotonic() < end:
        time.sleep(0.002)
    return bool(is_so())


def state_of(table: JobTable, name: str) -> Any:
    return {state.name: state for state in table.states()}[name]


def test_a_job_runs_when_it_is_due_and_its_report_is_kept(table: JobTable, started: Started) -> None:
    started(Job("a", Steps(3), SOON))
    assert eventually(lambda: table.attempts("a"))
    assert table.attempts("a")[0].report == {"steps": 3}


def test_a_job_that_is_not_due_waits(table: JobTable, started: Started) -> None:
    body = Steps(1)
    started(Job("a", body, 3600.0))
    assert eventually(lambda: table.states())
    assert body.runs == 0


def test_a_job_on_demand_runs_only_on_demand(table: JobTable, started: Started) -> None:
    body, other = Steps(1), Steps(1)
    worker = started(Job("a", body, None), Job("b", other, SOON))
    assert other.has_ended.wait(WAIT_S) and body.runs == 0
    assert worker.run("a") == {"steps": 1}


def test_nothing_begins_before_the_start_time(started: Started) -> None:
    body = Steps(1)
    started(Job("a", body, SOON), config=WorkerConfig(start_after_s=3600.0, idle_s=0.0))
    assert not body.has_begun.wait(0.05)


def test_nothing_begins_soon_after_a_request(started: Started) -> None:
    body = Steps(1)
    worker = started(Job("a", body, 3600.0, early=lambda: True), config=WorkerConfig(start_after_s=0.0, idle_s=3600.0))
    with worker.request():
        pass
    assert not body.has_begun.wait(0.05)


def test_a_job_that_waits_for_its_whole_interval_begins_between_two_requests(started: Started) -> None:
    body = Steps(1)
    started(Job("a", body, SOON), config=WorkerConfig(start_after_s=0.0, idle_s=0.05))
    assert body.has_ended.wait(WAIT_S)


def test_a_request_that_needs_what_a_job_holds_gets_it(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_time, "HOLD_S", 0.02)
    model, is_held = threading.Lock(), threading.Event()

    def body(must_stop: MustStop) -> None:
        with model:
            is_held.set()
            while not must_stop():
                pass

    worker = started(Job("a", body, SOON))
    assert is_held.wait(WAIT_S)
    with worker.request():
        assert model.acquire(timeout=WAIT_S)
    model.release()


def test_a_job_that_is_always_stopped_lets_others_have_their_turn(started: Started) -> None:
    first, second = Steps(), Steps()
    worker = started(Job("a", first, SOON), Job("b", second, SOON))
    for steps, runs in ((first, 1), (second, 1), (first, 2), (second, 2)):
        assert eventually(lambda steps=steps, runs=runs: steps.runs == runs)
        worker.pause()
        with worker.alone():  # it has stopped
            pass
        worker.resume()


def test_an_early_job_begins_before_it_is_due(started: Started) -> None:
    body = Steps(1)
    started(Job("a", body, 3600.0, early=lambda: body.runs == 0, early_s=SOON))
    assert body.has_ended.wait(WAIT_S)


def test_a_job_rests_while_a_request_runs_and_goes_on_after_it(started: Started) -> None:
    body = Steps()
    worker = started(Job("a", body, SOON))
    assert body.has_begun.wait(WAIT_S)
    with worker.request():
        assert eventually(lambda: worker._is_held)
        steps = body.steps
        time.sleep(0.02)
        assert body.steps <= steps + 1
    assert eventually(lambda: body.steps > steps + 1)
    assert body.runs == 1


def test_a_job_keeps_to_its_share_of_the_processor(started: Started) -> None:
    shares: list[float] = []

    def body(must_stop: MustStop) -> None:
        wall, cpu = time.monotonic(), time.thread_time()
        while time.thread_time() < cpu + 0.1 and not must_stop():
            pass
        shares.append((time.thread_time() - cpu) / (time.monotonic() - wall))

    started(Job("a", body, SOON), config=WorkerConfig(start_after_s=0.0, idle_s=0.0, cpu_share=0.2))
    assert eventually(lambda: shares)
    assert shares[0] < 0.25


def test_pausing_stops_a_job_which_begins_anew(table: JobTable, started: Started) -> None:
    body = Steps()
    worker = started(Job("a", body, SOON))
    assert body.has_begun.wait(WAIT_S)
    worker.pause()
    assert body.has_ended.wait(WAIT_S) and worker.is_paused
    assert eventually(lambda: state_of(table, "a").state == "waiting")
    worker.resume()
    assert eventually(lambda: body.runs == 2)
    assert state_of(table, "a").failures == 0


def test_closing_stops_a_job_at_once_and_it_stays_due(table: JobTable, started: Started) -> None:
    body = Steps()
    worker = started(Job("a", body, SOON))
    assert body.has_begun.wait(WAIT_S)
    began = time.monotonic()
    worker.close()
    assert time.monotonic() - began < 1.0
    state = state_of(table, "a")
    assert (state.state, state.runs, state.due < time.time()) == ("waiting", 0, True)


def test_closing_ends_a_job_that_waits_for_a_request(started: Started) -> None:
    body = Steps()
    worker = started(Job("a", body, SOON))
    assert body.has_begun.wait(WAIT_S)
    with worker.request():
        worker.close()
    assert body.has_ended.is_set()


def test_a_job_in_the_foreground_stops_the_one_in_the_background(started: Started) -> None:
    background = Steps()
    worker = started(Job("a", background, SOON), Job("b", Steps(2), None))
    assert background.has_begun.wait(WAIT_S)
    assert worker.run("b") == {"steps": 2}
    assert background.has_ended.is_set()


def test_two_jobs_never_run_at_once(started: Started) -> None:
    running: list[int] = []
    most: list[int] = []

    def body(must_stop: MustStop) -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.002)
        running.pop()

    worker = started(Job("a", body, SOON), Job("b", body, SOON))
    threads = [threading.Thread(target=worker.run, args=(name,)) for name in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) >= 4


def test_a_failure_is_logged_counted_and_tried_again_later(
    table: JobTable, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    def body(must_stop: MustStop) -> None:
        raise ValueError("no such luck")

    with caplog.at_level(logging.CRITICAL):
        started(Job("a", body, 3600.0, early=lambda: True), Job("b", Steps(1), SOON))
        assert eventually(lambda: table.states() and state_of(table, "a").failures and state_of(table, "b").runs)
    assert state_of(table, "a").last_error == "ValueError: no such luck"


def test_a_report_comes_back_also_where_the_store_has_no_room_for_it(table: JobTable, started: Started) -> None:
    def body(must_stop: MustStop) -> dict[str, str]:
        with table._store.exclusive() as connection:
            connection.pragma("max_page_count", connection.pragma("page_count"))
        return {"found": "x" * 100_000}

    logging.disable()
    try:
        assert len(started(Job("a", body, None)).run("a")["found"]) == 100_000
    finally:
        logging.disable(logging.NOTSET)
    assert table.attempts("a") == ()


def test_a_failing_job_is_not_tried_at_once_also_when_it_is_wanted_early(table: JobTable, started: Started) -> None:
    runs: list[int] = []

    def body(must_stop: MustStop) -> None:
        runs.append(1)
        raise ValueError

    logging.disable()
    try:
        started(Job("a", body, 3600.0, early=lambda: True, early_s=SOON))
        assert eventually(lambda: table.states() and state_of(table, "a").failures)
        time.sleep(0.05)
    finally:
        logging.disable(logging.NOTSET)
    assert len(runs) == 1


def test_a_job_whose_beginning_cannot_be_kept_is_not_tried_at_once(
    table: JobTable, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def begin(*_: object) -> None:
        tries.append(1)
        raise BrainError("the disk is full", path=Path("brain.db"))

    monkeypatch.setattr(JobTable, "begin", begin)
    logging.disable()
    try:
        started(Job("a", Steps(1), 3600.0, early=lambda: True, early_s=SOON))
        assert eventually(lambda: table.states() and state_of(table, "a").failures)
        time.sleep(0.05)
    finally:
        logging.disable(logging.NOTSET)
    assert len(tries) == 1


def test_a_failure_in_the_foreground_is_raised_and_counted(table: JobTable, started: Started) -> None:
    worker = started(Job("a", lambda must_stop: 1 // 0, None))
    with pytest.raises(ZeroDivisionError):
        worker.run("a")
    state = state_of(table, "a")
    assert (state.failures, state.state, state.due) == (1, "waiting", None)


def test_a_job_in_the_foreground_does_not_count_as_one_whose_process_ended(table: JobTable) -> None:
    def body(must_stop: MustStop) -> None:
        worker._enrol(time.monotonic())  # by the schedule, which looked for jobs in the foreground just before

    worker = Worker(table, [Job("a", body, 3600.0)], AT_ONCE)
    worker.run("a")
    state = state_of(table, "a")
    assert (state.runs, state.failures, state.last_error) == (1, 0, None)


def test_an_unknown_job_is_refused_by_name(started: Started) -> None:
    with pytest.raises(ValueError, match="name must be one of a, b \\('c'\\)"):
        started(Job("b", Steps(1), None), Job("a", Steps(1), None)).run("c")


def test_a_clock_that_goes_backwards_neither_starves_nor_storms_a_job(
    table: JobTable, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, wall = Steps(1), [2e9]
    monkeypatch.setattr("ruvllm.learning.worker.time.time", lambda: wall[0])
    started(Job("a", body, 0.05))
    assert eventually(lambda: body.runs >= 2)
    wall[0] = 1e9
    before, began = body.runs, time.monotonic()
    assert eventually(lambda: body.runs >= before + 4)
    assert time.monotonic() - began > 0.1


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="threads have a priority of their own on Linux alone")
def test_only_jobs_that_compute_run_at_idle_priority(started: Started) -> None:
    seen: dict[str, int] = {}

    def body(name: str) -> Callable[[MustStop], None]:
        return lambda must_stop: seen.update({name: os.sched_getscheduler(threading.get_native_id())})

    started(Job("a", body("a"), SOON, only_computes=True), Job("b", body("b"), SOON))
    assert eventually(lambda: len(seen) == 2)
    assert seen == {"a": os.SCHED_IDLE, "b": os.SCHED_OTHER}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_runs_nothing_and_closes(started: Started) -> None:
    body = Steps()
    worker = started(Job("a", body, SOON))
    assert body.has_begun.wait(WAIT_S)
    child = os.fork()
    if not child:
        steps = body.steps
        time.sleep(0.02)
        worker.close()
        os._exit(0 if body.steps == steps else 1)
    assert os.waitpid(child, 0)[1] == 0
