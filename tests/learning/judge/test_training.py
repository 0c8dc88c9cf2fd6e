"""What ratings teach a judge, and what the gate refuses."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.learning.judge.training import MIN_LABELS, calibrate, train
from ruvllm.router.calibration import Calibration
from ruvllm.router.measures import brier, ece


def rated(n: int, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Scores of a judge that is right in order and much too sure of itself."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.5, 1.0, n)
    quality = (rng.uniform(size=n) < score**6).astype(float)
    return [f"a{i}" for i in range(n)], score, quality


def test_two_hundred_labels_calibrate_a_thousand_fresh_answers() -> None:
    _, score, quality = rated(1200)
    said = calibrate(score[:200], quality[:200]).apply(score[200:])
    assert ece(said, quality[200:]) < ece(score[200:], quality[200:]) / 3.0
    assert brier(said, quality[200:]) < brier(score[200:], quality[200:])


def test_few_labels_give_two_parameters() -> None:
    _, score, quality = rated(40)
    assert calibrate(score, quality).kind == "platt"


def test_what_predicts_held_out_ratings_better_is_accepted() -> None:
    found, report = train(*rated(300), 0)
    assert found is not None and report.accepted and report.examples == 300
    assert report.loss is not None and report.before_loss is not None
    assert report.loss < report.before_loss and 0 < report.held_out < 300


def test_what_predicts_held_out_ratings_no_better_is_discarded() -> None:
    ids, score, _ = rated(60)
    found, report = train(ids, score, score, 4)  # the judge is right as it is
    assert found is None and not report.accepted and report.version == 4
    assert report.reason == "no better on held-out ratings"


@pytest.mark.parametrize("seed", range(8))
def test_what_more_ratings_teach_takes_the_place_of_what_fewer_taught(seed: int) -> None:
    ids, score, quality = rated(300, seed)
    in_force = Calibration.identity()
    for n in range(60, 301, 60):
        found, _ = train(ids[:n], score[:n], quality[:n], 0)
        in_force = found or in_force
    _, fresh, said = rated(4000, 100 + seed)
    assert brier(in_force.apply(fresh), said) <= brier(calibrate(score, quality).apply(fresh), said)


@pytest.mark.parametrize("n", [0, MIN_LABELS - 1])
def test_too_few_ratings_teach_nothing(n: int) -> None:
    found, report = train(*rated(n), 0)
    assert found is None and report.reason == f"{n} answers were rated; {MIN_LABELS} are the least"


def test_a_cancelled_training_changes_nothing() -> None:
    found, report = train(*rated(300), 0, lambda: True)
    assert found is None and report.reason == "cancelled"
