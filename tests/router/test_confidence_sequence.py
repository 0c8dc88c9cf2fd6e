"""Comparisons that are looked at after every request: seldom wrong, and right in the end."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.confidence_sequence import (
    actions,
    asymptotic_half_width,
    betting_above,
    compare,
    mean_interval,
)


def differences(runs: int, n: int, rate: float, other: float, seed: int = 0) -> np.ndarray:
    """Return (runs, n) differences of two answers that are right at these rates."""
    rng = np.random.default_rng(seed)
    return (rng.random((runs, n), np.float32) < rate).astype(float) - (rng.random((runs, n), np.float32) < other)


def test_half_width_is_tightest_where_it_was_asked_to_be() -> None:
    assert asymptotic_half_width(5000, 1.0, 0.05) * np.sqrt(5000) == pytest.approx(3.04, abs=0.005)
    scaled = asymptotic_half_width(np.array([1000, 5000, 25_000]), 1.0, 0.05) * np.sqrt([1000, 5000, 25_000])
    assert scaled.argmin() == 1


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_a_router_compared_with_itself_is_acted_upon_in_at_most_one_run_of_twenty(margin: float) -> None:
    quality, cost = differences(2000, 600, 0.6, 0.6), differences(2000, 600, 0.5, 0.5, seed=1)
    acted = (actions(quality, cost, margin=margin, cost_bound=1.0) != 0).any(axis=1)
    assert acted.mean() <= 0.05


def test_betting_is_exact_on_few_and_skewed_pairs() -> None:
    rare = (np.random.default_rng(2).random((2000, 200)) < 0.02).astype(float)
    assert betting_above(rare, 0.02, 0.05)[:, -1].mean() <= 0.05
    assert betting_above(rare + 0.3, 0.02, 0.05)[:, 20].all()


def test_a_better_and_cheaper_router_is_promoted() -> None:
    quality, cost = differences(1, 3000, 0.7, 0.6)[0], differences(1, 3000, 0.3, 0.6, seed=1)[0]
    verdict = compare(quality, cost, margin=0.02, cost_bound=1.0)
    assert verdict.action == "promote" and verdict.pairs == 3000
    assert verdict.quality.low > -0.02 and verdict.cost.high < 0.0


def test_a_cheaper_but_worse_router_is_rolled_back_even_early() -> None:
    quality, cost = differences(1, 150, 0.1, 0.9)[0], np.full(150, -1.0)
    verdict = compare(quality, cost, margin=0.02, cost_bound=1.0)
    assert verdict.action == "roll back" and verdict.quality.high < -0.02


def test_too_little_evidence_goes_on() -> None:
    assert compare(np.array([0.1]), np.array([-0.1]), margin=0.02, cost_bound=1.0).action == "continue"


@pytest.mark.parametrize("n", [30, 150, 2000])
def test_intervals_hold_the_mean_and_agree_with_the_actions(n: int) -> None:
    quality = differences(1, n, 0.7, 0.5, seed=3)[0]
    interval = mean_interval(quality)
    assert interval.low < quality.mean() < interval.high
    assert interval.low < 0.2 < interval.high
    wide, tight = mean_interval(quality, alpha=0.01), mean_interval(quality, alpha=0.2)
    assert wide.low < interval.low < tight.low


def test_intervals_narrow_with_pairs() -> None:
    quality = differences(1, 5000, 0.6, 0.6, seed=4)[0]
    widths = [x.high - x.low for x in (mean_interval(quality[:n]) for n in (50, 190, 1000, 5000))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("quality", "cost", "options", "message"),
    [
        ([], [], {}, "n >= 1"),
        ([0.1], [0.1, 0.2], {}, "n >= 1"),
        ([2.0], [0.0], {}, "quality"),
        ([np.nan], [0.0], {}, "quality"),
        ([0.0], [9.0], {}, "cost"),
        ([0.0], [0.0], {"margin": 1.0}, "margin"),
        ([0.0], [0.0], {"cost_bound": 0.0}, "cost_bound"),
    ],
)
def test_unusable_pairs_are_refused(quality: list, cost: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(np.array(quality), np.array(cost), **({"margin": 0.02, "cost_bound": 1.0} | options))
