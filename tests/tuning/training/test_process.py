"""When and how a training runs beside others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from echo_brain import open_echo
from memory.fakes import WordEmbedder

from ruvllm.config import TrainingConfig
from ruvllm.memory import Memory
from ruvllm.tuning.training.process import NICE, every_s, set_schedule, start_apart

DAY_S = 86_400.0


@pytest.mark.parametrize(("schedule", "seconds"), [("daily", DAY_S), ("weekly", 7 * DAY_S), ("off", None)])
def test_schedule_outlives_the_process(tmp_path: Path, schedule: str, seconds: float | None) -> None:
    with Memory(tmp_path / "brain") as memory:
        set_schedule(memory.job_table, "weekly")
        set_schedule(memory.job_table, schedule)  # type: ignore[arg-type]
    with Memory(tmp_path / "brain") as memory:
        assert every_s(memory.job_table, TrainingConfig(schedule="daily")) == seconds


def test_configuration_counts_until_a_schedule_is_set(tmp_path: Path) -> None:
    with Memory(tmp_path / "brain") as memory:
        assert every_s(memory.job_table, TrainingConfig(schedule="daily")) == DAY_S
        assert every_s(memory.job_table, TrainingConfig()) is None


def test_configuration_still_counts_after_the_worker_took_the_job_in(tmp_path: Path) -> None:
    with Memory(tmp_path / "brain") as memory:
        memory.job_table.enrol([("tuning", DAY_S)], 0.0)
        assert every_s(memory.job_table, TrainingConfig(schedule="weekly")) == 7 * DAY_S
        assert every_s(memory.job_table, TrainingConfig()) is None


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this system has no idle priority")
@pytest.mark.parametrize("leads", [True, False])
def test_training_takes_what_others_leave(leads: bool) -> None:
    code = (
        "from ruvllm.tuning.training.process import at_low_priority as f; f(); f(); import os; "
        "print(os.nice(0), os.sched_getscheduler(0))"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, start_new_session=leads
    )
    assert said.stdout.split() == [str(NICE), str(os.SCHED_IDLE)]


def test_worker_has_the_job_of_a_brain_with_a_schedule(tmp_path: Path) -> None:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        set_schedule(memory.job_table, "weekly")
    with open_echo(tmp_path / "brain") as scheduled, open_echo(tmp_path / "other") as other:
        assert "tuning" in scheduled.worker.names and "tuning" not in other.worker.names
        assert scheduled.learn()  # and trains no student
        assert not [job for job in scheduled.memory.job_table.states() if job.name == "tuning" and job.runs]


def test_training_apart_goes_on_by_itself_and_keeps_a_log(tmp_path: Path) -> None:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()):
        report = start_apart(tmp_path / "brain")
    for thread in threading.enumerate():
        if thread.name == f"ruvllm-tuning-{report['pid']}":
            thread.join()
    assert "error: traces: nothing to train on in 0 traces" in Path(report["log"]).read_text()
