"""The brain's own jobs in the background: the ranking and the edges change while requests go on, and after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory.fakes import WordEmbedder

from ruvllm.attention import AttentionEngine
from ruvllm.config import WorkerConfig
from ruvllm.learning.jobs import Learners, News, brain_jobs
from ruvllm.learning.report import learn_history
from ruvllm.learning.worker import Worker
from ruvllm.memory import Memory
from ruvllm.memory.decay import DAY_S
from ruvllm.memory.jobs import Attempt
from ruvllm.types import EdgeType, Feedback

from . import fleet

CHILD = Path(__file__).with_name("child.py")
WAIT_S = 30.0
EAGER = WorkerConfig(start_after_s=0.0, idle_s=0.0, cpu_share=1.0, attention_after_s=0.01)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        yield memory


@contextmanager
def working(memory: Memory, news: News, config: WorkerConfig = EAGER) -> Iterator[Worker]:
    worker = Worker(memory.job_table, brain_jobs(memory, config, news, Learners()), config)
    worker.start()
    try:
        yield worker
    finally:
        worker.close()


def eventually(is_so: Callable[[], Any]) -> bool:
    end = time.monotonic() + WAIT_S
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(is_so())


def params(memory: Memory) -> np.ndarray:
    return memory._lessons.engine().params()


def runs(memory: Memory, name: str) -> int:
    return sum(state.runs for state in memory.jobs() if state.name == name)


def overdue(memory: Memory, *names: str) -> None:
    """Have jobs be due, as in a brain that was closed for long."""
    memory.job_table.enrol([(name, DAY_S) for name in names], time.time() - 2 * DAY_S)


def test_background_training_thread(memory: Memory) -> None:
    fleet.rated(memory)
    memory.insert_edge(1, 2, EdgeType.SAME_TOPIC, 0.5)
    memory._store.write(
        lambda connection: connection.execute("UPDATE edges SET last_used = 0, decayed = 0 WHERE type = 'SameTopic'")
    )
    overdue(memory, "attention", "decay")
    threads_before = threading.active_count()
    answered = 0
    with working(memory, News()) as worker:
        assert threading.active_count() > threads_before
        end = time.monotonic() + WAIT_S
        while not (runs(memory, "attention") and runs(memory, "decay")) and time.monotonic() < end:
            with worker.request():
                assert memory.search("Who is the master of MV Heron?", 3)
            answered += 1
            time.sleep(0.005)
    assert answered > 1
    assert not np.array_equal(params(memory), AttentionEngine().untrained())
    stored = memory._store.value("SELECT weight FROM edges WHERE type = 'SameTopic' AND src = 1 AND dst = 2")
    assert stored < 0.01
    learnt = learn_history(memory).learnt
    assert [(one.name, one.version, one.state) for one in learnt] == [("attention", 1, "in force")]
    assert learnt[0].loss < learnt[0].before_loss  # on answers that it never saw


def test_new_outcomes_train_the_ranking_before_the_day_is_over(memory: Memory) -> None:
    news = News()
    fleet.tell(memory)
    with working(memory, news) as worker:
        for i, ship in enumerate(fleet.SHIPS):
            with worker.request():
                fleet.ask(memory, f"a{i}", ship)
                memory.feedback(f"a{i}", Feedback(rating=5))
                news.heard()
        assert eventually(lambda: memory._lessons._checkpoints.versions())


def test_few_outcomes_train_nothing(memory: Memory) -> None:
    news = News()
    fleet.rated(memory)
    with working(memory, news):
        for _ in range(4):
            news.heard()
        assert eventually(lambda: memory.jobs())
        time.sleep(0.1)
    assert runs(memory, "attention") == 0


def test_a_job_that_was_killed_runs_once_more_and_the_brain_is_sound(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(CHILD.parents[1])])}
    command = [sys.executable, str(CHILD), str(tmp_path / "brain")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None and child.stdout.readline() == "training\n"
        child.kill()
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        assert [state.state for state in memory.jobs()] == ["running"]
        assert memory.check().ok
        with working(memory, News()):
            assert eventually(lambda: runs(memory, "attention"))
            time.sleep(0.05)
        (state,) = [state for state in memory.jobs() if state.name == "attention"]
        assert (state.state, state.runs, state.failures) == ("waiting", 1, 1)
        assert memory._lessons._checkpoints.versions() == [1]


def test_a_stopped_training_changes_nothing(memory: Memory) -> None:
    fleet.rated(memory)
    looks = iter(range(1000))
    report = memory.train_attention(lambda: next(looks) > 20)
    assert (report.accepted, report.reason) == (False, "training was stopped")
    assert np.array_equal(params(memory), AttentionEngine().untrained())


def test_discarded_trainings_stay_in_the_report(memory: Memory) -> None:
    report = {"examples": 12, "held_out": 3, "untrained_loss": 1.0, "loss": 1.5, "accepted": False, "reason": "worse"}
    memory.job_table.begin("attention", None, 5.0)
    memory.job_table.finished("attention", Attempt(5.0, 0.1, report), None, 6.0)
    (one,) = learn_history(memory).learnt
    assert (one.version, one.state, one.before_loss, one.loss, one.reason) == (None, "discarded", 1.0, 1.5, "worse")


def test_a_version_that_was_taken_back_is_told_from_earlier_ones(memory: Memory) -> None:
    fleet.rated(memory)
    for i in range(3):
        memory.feedback("a0", Feedback(rating=5, correction=f"Captain Petrelson {i}"))
        memory.train_attention()
    memory.rollback_attention()
    assert [one.state for one in learn_history(memory).learnt] == ["earlier", "in force", "taken back"]
    memory.feedback("a0", Feedback(correction="Captain Petrelson 3"))  # else nothing is new
    memory.train_attention()
    memory.train_on_patterns([])
    states = [one.state for one in learn_history(memory).learnt]
    assert states == ["earlier", "earlier", "taken back", "earlier", "in force"]
