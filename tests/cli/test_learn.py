"""`ruvllm learn`, and the schedule in `ruvllm stats`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from learning import fleet
from memory.fakes import WordEmbedder
from typer.testing import CliRunner, Result

from ruvllm.cli.app import app
from ruvllm.memory import Memory


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        fleet.rated(memory)
    nothing_to_embed = "[judge]\nenabled = false\n[compression]\nmin_size = 1000\n"
    (tmp_path / "brain" / "ruvllm.toml").write_text(nothing_to_embed)  # the command opens MiniLM
    return tmp_path / "brain"


def run(brain: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--brain", str(brain)])


def test_learn_shows_what_it_did_and_keeps_it_in_the_report(brain: Path) -> None:
    done = run(brain, "learn")
    assert done.exit_code == 0 and "attention: accepted, loss on unseen ones" in done.output
    assert "index: none, so few vectors are searched without" in done.output
    report = run(brain, "learn", "--report").output
    assert "in force" in report and "12" in report
    assert [line.split()[0] for line in report.splitlines()[-3:]] == ["compression", "decay", "index"]


def test_learn_as_json(brain: Path) -> None:
    assert json.loads(run(brain, "learn", "--json").output)["attention"]["examples"] == len(fleet.SHIPS)
    report = json.loads(run(brain, "learn", "--report", "--json").output)
    assert [(one["name"], one["state"]) for one in report["learnt"]] == [("attention", "in force")]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_where_a_job_fails_the_others_are_done_and_it_is_named(brain: Path, options: list[str]) -> None:
    (brain / "checkpoints").touch()  # where attention would make a folder
    done = run(brain, "learn", *options)
    assert done.exit_code == 1 and str(done.exception).startswith("attention failed: ")
    assert "index: " in done.output if not options else set(json.loads(done.output)["failures"]) == {"attention"}
    jobs = json.loads(run(brain, "stats", "--json").output)["jobs"]
    assert {job["name"]: job["failures"] for job in jobs} == {"attention": 1, "compression": 0, "decay": 0, "index": 0}


def test_what_was_learnt_is_taken_back(brain: Path) -> None:
    run(brain, "learn")
    assert "attention is untrained\n" in run(brain, "learn", "--rollback", "attention").output
    assert "taken back" in run(brain, "learn", "--report").output


def test_only_what_was_learnt_can_be_taken_back(brain: Path) -> None:
    done = CliRunner().invoke(app, ["learn", "--rollback", "router", "--brain", str(brain)])
    assert isinstance(done.exception, ValueError) and "name must be one of attention ('router')" in str(done.exception)


def test_a_report_of_a_brain_that_learnt_nothing(brain: Path) -> None:
    assert run(brain, "learn", "--report").output == "nothing was learnt yet\n"


def test_stats_show_the_schedule(brain: Path) -> None:
    with Memory(brain, embedder=WordEmbedder()) as memory:
        memory.job_table.enrol([("compression", 3600.0)], time.time())
    assert "compression  1 h" in run(brain, "stats").output
    (job,) = json.loads(run(brain, "stats", "--json").output)["jobs"]
    assert (job["name"], job["state"], job["runs"]) == ("compression", "waiting", 0)


def test_a_report_and_a_rollback_at_once_are_refused(brain: Path) -> None:
    run(brain, "learn")
    done = run(brain, "learn", "--report", "--rollback", "attention")
    assert done.exit_code == 2 and "exclude each other" in done.output
    assert "in force" in run(brain, "learn", "--report").output
