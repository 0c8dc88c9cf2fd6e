"""ruvllm/memory/jobs.py: what the store says of background jobs, over restarts and changes of the clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ruvllm.memory.jobs import KEPT, KILLED, Attempt, JobTable, retry_after_s
from ruvllm.memory.store import Store

DAY = 86_400.0


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    store = Store(tmp_path / "brain.db", read_only=False)
    yield JobTable(store, "default")
    store.close()


def test_a_new_job_is_due_after_its_interval(table: JobTable) -> None:
    state = table.enrol([("decay", DAY)], now=1000.0)["decay"]
    assert (state.state, state.due, state.runs) == ("waiting", 1000.0 + DAY, 0)


def test_a_job_on_demand_is_never_due(table: JobTable) -> None:
    assert table.enrol([("archival", None)], now=1000.0)["archival"].due is None


def test_a_job_keeps_its_due_time_over_restarts(table: JobTable) -> None:
    table.enrol([("decay", DAY)], now=1000.0)
    assert table.enrol([("decay", DAY)], now=50_000.0)["decay"].due == 1000.0 + DAY


def test_a_clock_that_was_set_back_starves_no_job(table: JobTable) -> None:
    table.enrol([("decay", DAY)], now=400 * DAY)
    assert table.enrol([("decay", DAY)], now=1000.0)["decay"].due == 1000.0 + DAY
    assert table.enrol([("decay", DAY)], now=2000.0)["decay"].due == 1000.0 + DAY  # and so it stays


def test_what_ran_when_its_process_was_killed_is_due_at_once_and_then_later(table: JobTable) -> None:
    for now, due in ((5000.0, 5000.0), (5001.0, 5001.0 + 120.0)):
        table.begin("decay", DAY, now - 10.0)
        state = table.enrol([("decay", DAY)], now=now)["decay"]
        assert (state.state, state.due, state.last_error) == ("waiting", due, KILLED)


def test_the_newest_attempts_are_kept(table: JobTable) -> None:
    table.begin("decay", DAY, 0.0)
    for i in range(KEPT + 5):
        table.finished("decay", Attempt(float(i), 0.5, {"pruned": i}), DAY, float(i))
    attempts = table.attempts("decay")
    assert len(attempts) == KEPT
    assert attempts[0] == Attempt(KEPT + 4.0, 0.5, {"pruned": KEPT + 4})


def test_a_run_that_had_nothing_to_do_leaves_no_attempt(table: JobTable) -> None:
    table.begin("decay", DAY, 0.0)
    table.finished("decay", None, DAY, 1.0)
    assert table.attempts("decay") == ()
    assert table.states()[0].runs == 1


def test_a_run_ends_the_failures_in_a_row(table: JobTable) -> None:
    table.begin("decay", DAY, 0.0)
    table.failed("decay", "ValueError: no", 60.0)
    table.failed("decay", "ValueError: no", 120.0)
    table.finished("decay", None, DAY, 1.0)
    state = table.states()[0]
    assert (state.failures, state.failed_in_row, state.last_error) == (2, 0, "ValueError: no")


def test_namespaces_have_jobs_of_their_own(table: JobTable) -> None:
    table.enrol([("decay", DAY)], now=0.0)
    assert JobTable(table._store, "other").states() == ()


@pytest.mark.parametrize(("failed", "every_s", "after"), [(1, DAY, 60.0), (3, DAY, 240.0), (99, DAY, DAY)])
def test_tries_are_ever_farther_apart_up_to_the_interval(failed: int, every_s: float, after: float) -> None:
    assert retry_after_s(failed, every_s) == after
