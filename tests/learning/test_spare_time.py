"""ruvllm/learning/spare_time.py: jobs run while nobody waits, and never beside a request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from ruvllm.learning.spare_time import CAPACITY, TRIES, SpareTime

WAIT_S = 10.0


@pytest.fixture
def spare() -> Iterator[SpareTime]:
    spare = SpareTime()
    yield spare
    spare.close()


def test_jobs_run_in_order(spare: SpareTime) -> None:
    done: list[int] = []
    for i in range(5):
        spare.put(lambda _, i=i: done.append(i) or True)
    spare.flush()
    assert done == [0, 1, 2, 3, 4]


def test_no_job_begins_beside_a_request(spare: SpareTime) -> None:
    done = threading.Event()
    with spare.request():
        spare.put(lambda _: done.set() or True)
        assert not done.wait(0.05)
    assert done.wait(WAIT_S)


def test_a_request_stops_the_job_which_begins_again_after_it(spare: SpareTime) -> None:
    runs: list[bool] = []
    has_begun, has_stopped = threading.Event(), threading.Event()

    def job(must_stop: Callable[[], bool]) -> bool:
        runs.append(True)
        has_begun.set()
        while len(runs) == 1 and not must_stop():
            pass
        has_stopped.set()
        return len(runs) > 1

    spare.put(job)
    assert has_begun.wait(WAIT_S)
    with spare.request():
        assert has_stopped.wait(WAIT_S)
    spare.flush()
    assert len(runs) == 2


def test_a_job_that_was_told_to_stop_is_told_so_until_it_does(spare: SpareTime) -> None:
    told: list[bool] = []

    def job(must_stop: Callable[[], bool]) -> bool:
        with spare.request():
            told.append(must_stop())
        told.append(must_stop())
        return True

    spare.put(job)
    spare.flush()
    assert told == [True, True]


def test_a_job_that_never_ends_is_given_up(spare: SpareTime) -> None:
    runs: list[bool] = []
    spare.put(lambda _: bool(runs.append(True)))
    spare.flush()
    assert len(runs) == TRIES


def test_a_job_that_fails_is_logged_and_the_next_one_runs(spare: SpareTime, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with caplog.at_level(logging.CRITICAL):
        spare.put(lambda _: 1 // 0 > 0)
        spare.put(lambda _: done.set() or True)
        spare.flush()
    assert done.is_set()


def test_too_many_jobs_are_not_taken(spare: SpareTime) -> None:
    done: list[int] = []
    with spare.request():
        for i in range(CAPACITY + 10):
            spare.put(lambda _, i=i: done.append(i) or True)
        assert not spare.has_room
    spare.flush()
    assert done == list(range(CAPACITY))


def test_closing_drops_what_waits_and_takes_nothing_more(spare: SpareTime) -> None:
    done: list[int] = []
    with spare.request():
        spare.put(lambda _: done.append(1) or True)
        spare.close()
    spare.put(lambda _: done.append(2) or True)
    spare.close()
    assert done == []
