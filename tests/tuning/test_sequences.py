"""Bounds that hold at all times, against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.tuning.rollout import sequences
from ruvllm.tuning.rollout.sequences import (
    half_width,
    mean_bounds,
    proven_above,
    quantile_bounds,
    quantile_ranks,
    rate_above,
    rate_bounds,
    variance_of_mean,
)

LEVEL = 0.05


def test_variance_of_a_mean_is_the_usual_one_where_no_session_repeats() -> None:
    values = np.random.default_rng(0).random(300)
    assert variance_of_mean(values, np.arange(300)) == pytest.approx(values.var(ddof=1) / 300)


def test_variance_of_a_mean_counts_whole_sessions() -> None:
    values = np.random.default_rng(0).random(300)
    copies = np.repeat(values, 4)  # four times the same says no more than once
    assert variance_of_mean(copies, np.repeat(np.arange(300), 4)) == pytest.approx(values.var(ddof=1) / 300)
    assert variance_of_mean(copies, np.zeros(1200, np.int64)) == np.inf


def test_the_asymptotic_width_is_wider_than_that_of_one_look() -> None:
    norm = pytest.importorskip("scipy.stats").norm
    n = np.array([500.0, 2000.0, 10_000.0])
    ratio = half_width(n, 1.0 / n, LEVEL) / (norm.isf(LEVEL) / np.sqrt(n))
    assert (ratio > 1.5).all() and (ratio < 2.2).all()


def test_betting_proves_what_is_there_and_not_more() -> None:
    x = np.full(100, 0.5)
    assert proven_above(x, 0.0, LEVEL) and not proven_above(x, 0.5, LEVEL)
    low, high = mean_bounds(x, LEVEL)
    assert low < 0.5 < high and high - low < 0.5


def test_nothing_proves_nothing() -> None:
    assert not proven_above(np.empty(0), -0.5, LEVEL)
    assert rate_bounds(0, 0, LEVEL) == (0.0, 1.0)
    assert quantile_bounds([], 0.5, LEVEL) == (0.0, np.inf)


@pytest.mark.parametrize(("events", "n"), [(0, 50), (3, 200), (40, 2000), (200, 200)])
def test_rate_bounds_hold_more_than_those_of_one_look(events: int, n: int) -> None:
    exact = pytest.importorskip("scipy.stats").binomtest(events, n).proportion_ci(1.0 - 2.0 * LEVEL, method="exact")
    low, high = rate_bounds(events, n, LEVEL)
    assert 0.0 <= low <= exact.low <= events / n <= exact.high <= high <= 1.0
    assert high - low < 3.0 * (exact.high - exact.low)


def test_the_mixture_is_the_beta_binomial_over_the_binomial() -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.betabinom.logpmf(7, 90, 0.5, 0.5) - stats.binom.logpmf(7, 90, 0.03)
    assert sequences._log_ratio(7, 90, 0.03, (0.5, 0.5)) == pytest.approx(wanted)


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.5])
def test_a_rate_is_proven_above_itself_in_at_most_the_level_of_all_runs(rate: float) -> None:
    events = np.cumsum(np.random.default_rng(1).random((1000, 400)) < rate, axis=1)
    wrong = [any(rate_above(int(k), n, rate, LEVEL) for n, k in enumerate(run, 1)) for run in events]
    assert np.mean(wrong) <= LEVEL


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_ranks_hold_the_quantile_at_every_length(p: float) -> None:
    """The places of the true quantile among uniform values: how many are below it."""
    below = np.cumsum(np.random.default_rng(2).random((1000, 600)) < p, axis=1)
    ranks = np.array([quantile_ranks(n, p, LEVEL) for n in range(1, 601)])
    missed = ((below < ranks[:, 0]) | (below >= ranks[:, 1])).any(axis=1)
    assert missed.mean() <= 2.0 * LEVEL


def test_ranks_are_wider_than_those_of_one_look() -> None:
    binom = pytest.importorskip("scipy.stats").binom
    low, high = quantile_ranks(1000, 0.95, LEVEL)
    assert low < binom.ppf(LEVEL, 1000, 0.95) < 950 < binom.ppf(1.0 - LEVEL, 1000, 0.95) < high <= 1000


def test_too_few_values_bound_no_high_quantile() -> None:
    assert quantile_bounds(sorted(map(float, range(20))), 0.95, 0.01)[1] == np.inf
