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
    found, report = train(*rated(300), Calibration.identity(), 0)
    assert found is not None and report.accepted and report.examples == 300
    assert report.loss is not None and report.before_loss is not None
    assert report.loss < report.before_loss and 0 < report.held_out < 300


def test_what_is_in_force_stays_where_nothing_better_is_found() -> None:
    ids, score, quality = rated(3000)
    good = calibrate(score, quality)  # has seen the held-out ones, too
    found, report = train(ids[:60], score[:60], quality[:60], good, 4)
    assert found is None and not report.accepted and report.version == 4
    assert report.reason == "no better on held-out ratings"


@pytest.mark.parametrize("n", [0, MIN_LABELS - 1])
def test_too_few_ratings_teach_nothing(n: int) -> None:
    found, report = train(*rated(n), Calibration.identity(), 0)
    assert found is None and report.reason == f"{n} answers were rated; {MIN_LABELS} are the least"


def test_a_cancelled_training_changes_nothing() -> None:
    found, report = train(*rated(300), Calibration.identity(), 0, lambda: True)
    assert found is None and report.reason == "cancelled"
