"""`ruvllm tune` from end to end, on a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder
from typer.testing import CliRunner, Result

from ruvllm.checkpoints import students_of
from ruvllm.cli.app import app
from ruvllm.cli.app import run as run_and_exit
from ruvllm.config import ModelsConfig, TrainingConfig
from ruvllm.memory import Memory
from ruvllm.models import pull
from ruvllm.tuning.training.process import every_s
from tests.tuning.training import cases


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()):
        return tmp_path / "brain"


@pytest.fixture(autouse=True)
def normal_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command does to its own process stays away from the tests'."""
    monkeypatch.setattr("ruvllm.tuning.training.process.at_low_priority", lambda: None)


@pytest.fixture
def arguments(tmp_path: Path, brain: Path) -> list[str]:
    """A training of a few seconds."""
    cases.needs_training()
    base = cases.lfm2(tmp_path)
    tier = pull(f"path:{base}", ModelsConfig(cache_dir=str(tmp_path / "cache"), offline=True))
    settings = f'[generation]\nmodel = "{tier}"\n[training]\nbatch_size = 8\nlearning_rate = 1e-2\nrank = 4\n'
    (brain / "ruvllm.toml").write_text(settings)
    curriculum = cases.curriculum(tmp_path, sft=cases.examples(256))
    return [
        *("tune", str(brain), "--base", str(base)),
        *("--curriculum", str(curriculum), "--threads", "1", "--epochs", "0.5"),
    ]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_table_says_what_was_learnt(arguments: list[str], brain: Path) -> None:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "held out" in done.output and "LFM2-ruv-edition-v1" in done.output
    assert [student.state for student in students_of(brain).all()] == ["trained"]


def test_json_is_the_whole_report(arguments: list[str]) -> None:
    report = json.loads(run(*arguments, "--json").stdout.splitlines()[-1])
    assert report["phases"][0]["name"] == "sft" and report["student"]["step"] == "trained"


@pytest.mark.slow
def test_interrupted_run_is_resumed(arguments: list[str], brain: Path) -> None:
    command = [sys.executable, "-P", "-m", "ruvllm", *arguments, "--epochs", "8"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TERM": "dumb"}) as child:
        while not list(brain.glob("tuning/student/*/sft/checkpoint-*")):
            assert child.poll() is None, child.stderr and child.stderr.read()
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        child.wait()
    assert child.returncode == 130
    done = run("tune", str(brain), "--resume", "--minutes", "0.001")
    assert done.exit_code == 0 and "LFM2-ruv-edition-v1" in done.output


def test_schedule_is_kept_in_the_brain(brain: Path) -> None:
    assert "starts a training weekly" in run("tune", str(brain), "--schedule", "weekly").output
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert every_s(memory.job_table, TrainingConfig()) == 7 * 86_400.0


def test_missing_brain_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-brain is not a directory"):
        run("tune", str(tmp_path / "no-brain"))


def test_a_missing_extra_is_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ruvllm.tuning.training.student.NEEDED", ("no_such_package",))
    monkeypatch.setattr("sys.argv", ["ruvllm", *arguments])
    with pytest.raises(SystemExit, match="1"):
        run_and_exit()
    said = "error: training needs no_such_package: pip install 'ruvllm[train]'"
    assert capsys.readouterr().err.splitlines()[-1] == said
