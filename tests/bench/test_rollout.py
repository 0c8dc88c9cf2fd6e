"""Drawn trials say what the rows say, and seldom what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.bench import rollout
from ruvllm.bench.rollout_trials import Student, Trial, draw, first_decision
from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import Action, evaluate_canary, evaluate_shadow

SHORT = RolloutConfig(
    shadow_requests=250,
    canary_requests=80,
    quality_margin=0.05,
    canary_margin=0.2,
    failure_margin=0.05,
    latency_ratio=2.0,
)


def asked_after_every_row(trial: Trial) -> tuple[Action, int]:
    """Return the first decision of the functions that are served, and the student's requests until then."""
    found = None
    control = treatment = 0
    pairs = trial.pairs() if trial.is_student is None else []
    arms = ([], []) if trial.is_student is None else (trial.rows(0), trial.rows(1))
    for i in range(len(trial.session)):
        if trial.is_student is None:
            found = evaluate_shadow(pairs[: i + 1], SHORT)
        else:
            control, treatment = control + int(not trial.is_student[i]), treatment + int(trial.is_student[i])
            found = evaluate_canary(arms[0][:control], arms[1][:treatment], SHORT)
        if found.action != Action.CONTINUE:
            break
    assert found is not None
    return found.action, found.requests


@pytest.mark.parametrize("share", [None, 0.3])
@pytest.mark.parametrize(
    "student",
    [
        Student(),
        Student(loss=0.5),
        Student(kind="right or wrong", loss=0.05),
        Student(failure_rates=(0.02, 0.2)),
        Student(latency_ratio=4.0),
        Student(session_requests=4, session_sd=0.1),
    ],
)
def test_drawn_trials_decide_as_served_ones(student: Student, share: float | None) -> None:
    trial = draw(student, 350, np.random.default_rng(3), share=share)
    assert first_decision(trial, SHORT) == asked_after_every_row(trial)


@pytest.mark.parametrize("kind", ["graded", "right or wrong"])
def test_drawn_students_are_as_described(kind: str) -> None:
    trial = draw(Student(loss=0.03, kind=kind), 200_000, np.random.default_rng(0))  # type: ignore[arg-type]
    difference = trial.quality[:, 1] - trial.quality[:, 0]
    assert difference.mean() == pytest.approx(-0.03, abs=0.002)
    assert difference.std() == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize("trials", rollout.FALSE_ALARMS, ids=lambda trials: trials.name)
def test_trials_end_wrongly_in_at_most_one_of_twenty(trials: rollout.Trials) -> None:
    rng = np.random.default_rng(5)
    drawn = (draw(trials.student, min(trials.requests, 2200), rng, share=trials.share) for _ in range(40))
    assert sum(first_decision(trial, trials.config)[0] in trials.actions for trial in drawn) <= 5


def test_the_bench_reports_shares_with_targets_and_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "LONGEST", 3000)
    report = rollout.run(2, seed=0)
    named = {row.name: row for row in report.rows}
    assert named["A/A, pairs, margin 0, graded: decided"].target == 0.05
    assert named["loss found in 1500 pairs, sd 0.25"].value == pytest.approx(2.67, abs=0.01)
    assert any(name.startswith("pairs until a loss of 10 points") for name in named)
