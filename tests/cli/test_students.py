"""`ruvllm models ...` on students, and `ruvllm rollout`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import steps
from memory.fakes import WordEmbedder
from models import converted
from typer.testing import CliRunner

from ruvllm.checkpoints import Student, Students, students_of
from ruvllm.cli.app import app
from ruvllm.memory import Memory
from ruvllm.memory.trials import TrialOutcome

TIER = "smollm2-135m"  # generation.model, where nothing is configured


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        memory.add(["Bread is baked on Fridays."])
    return tmp_path / "brain"


@pytest.fixture
def students(brain: Path) -> Students:
    return students_of(brain)


@pytest.fixture
def validated(students: Students, tmp_path: Path) -> Student:
    made = converted.decoder(tmp_path, quantization="int8")
    student = students.add(made, base=TIER, tier=TIER)
    return students.move(student.id, "validated", evidence=steps.EVIDENCE)


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_a_student_is_tried_promoted_and_rolled_back(brain: Path, students: Students, validated: Student) -> None:
    steps_taken = []
    for command in ("canary", "canary", "promote"):
        run("models", command, validated.name, "-b", brain)
        steps_taken.append(students.get(validated.id).step)
    assert steps_taken == ["shadow", "canary", "promoted"]
    assert f"{TIER} answers for {TIER}" in run("models", "rollback", "-b", brain, "--why", "a whim")
    assert students.history()[-1].why == "a whim"


def test_a_student_is_retired(brain: Path, students: Students, validated: Student) -> None:
    run("models", "retire", validated.id, "-b", brain)
    assert students.get(validated.id).state == "retired"


def test_the_history_is_a_table_or_json(brain: Path, validated: Student) -> None:
    assert validated.name in run("models", "history", "-b", brain)
    moves = json.loads(run("models", "history", "-b", brain, "--json"))
    assert [(move["id"], move["after"]) for move in moves] == [(validated.id, "trained"), (validated.id, "validated")]


def test_without_students_there_is_no_history(brain: Path) -> None:
    assert "no students yet" in run("models", "history", "-b", brain)


def test_rollout_says_where_the_trial_stands(brain: Path, students: Students, validated: Student) -> None:
    students.move(validated.id, "shadow")
    told = run("rollout", brain)
    assert f"{TIER} answers, on trial: {validated.name}" in told and "too_few_requests" in told
    (status,) = json.loads(run("rollout", brain, "--json"))
    assert (status["id"], status["phase"], status["requests"]) == (validated.id, "shadow", 0)
    assert status["action"] == "Continue"


def test_the_report_of_a_trial_that_has_ended_is_shown_and_drawn(
    brain: Path, students: Students, validated: Student, tmp_path: Path
) -> None:
    students.move(validated.id, "shadow")
    with Memory(brain, embedder=WordEmbedder()) as memory:
        pair = [
            TrialOutcome(validated.id, 3, "", is_treatment, "request", "", 0.5, 10.0, False, 0.0)
            for is_treatment in (False, True)
        ]
        memory.trial_table.write(pair)
    students.move(validated.id, "retired")
    told = run("rollout", brain, "--student", validated.name, "--out", tmp_path / "trial.svg")
    assert f"Rollout of {validated.name}" in told and "on trial: nobody" in told
    assert (tmp_path / "trial.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("command", ["promote", "retire", "canary"])
def test_an_unknown_student_is_the_users_mistake(brain: Path, command: str) -> None:
    with pytest.raises(ValueError, match="'nobody' is not known; there are none yet"):
        run("models", command, "nobody", "-b", brain)
