"""Budgets over many requests: what they spend, what they buy, and answers that come too late."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from router.cases import TIERS
from ruvllm.router.budget import Budget, Lateness
from ruvllm.router.policy import Policy, choose
from ruvllm.types import Constraints

COSTS = np.array([tier.cost for tier in TIERS])
BEST = Policy(quality_floor=1.0, confidence_threshold=0.0, explore=0.0)


def spend(
    budget: Budget, n: int, *, real: Callable[[float, np.random.Generator], float] = lambda cost, rng: cost
) -> tuple[float, float]:
    """Return mean cost and mean expected quality of `n` requests, of which half gain nothing by a larger tier."""
    rng = np.random.default_rng(0)
    costs, earned = [], []
    for _ in range(n):
        gain = rng.random() * rng.integers(2)
        quality = (0.5 + 0.5 * gain * COSTS / COSTS[-1]).tolist()
        choice = choose(TIERS, quality, [1.0] * 4, 1.0, BEST, Constraints(), rng, terms=budget.terms())
        costs.append(real(TIERS[choice.tier].cost, rng))
        budget.charge(quality, choice.wanted, choice.tier)
        budget.settle(choice.tier, choice.tier, costs[-1])
        earned.append(quality[choice.tier])
    return float(np.mean(costs)), float(np.mean(earned))


@pytest.mark.parametrize("limit", [0.4, 0.7, 1.0])
def test_a_budget_is_spent_and_not_overspent(limit: float) -> None:
    cost, _ = spend(Budget(limit, TIERS), 1000)
    assert 0.95 * limit < cost <= limit


@pytest.mark.parametrize("dearer", [0.5, 3.0])
def test_what_answers_really_cost_counts(dearer: float) -> None:
    budget = Budget(1.2, TIERS)
    cost, _ = spend(budget, 1000, real=lambda cost, rng: dearer * cost * rng.lognormal(-0.125, 0.5))
    assert 1.05 < cost <= 1.01 * 1.2 or (dearer == 0.5 and cost <= 1.2)


@pytest.mark.parametrize(("charged", "answers"), [(0, 3), (3, 0)])
def test_a_tier_that_stands_in_for_another_counts_with_what_it_cost(charged: int, answers: int) -> None:
    budget = Budget(1.2, TIERS)
    for _ in range(20):
        budget.charge([0.5] * 4, charged, charged)
        budget.settle(charged, answers, float(COSTS[answers]))
    assert budget.spent == pytest.approx(20 * COSTS[answers])


def test_a_budget_buys_where_quality_is_gained() -> None:
    _, earned = spend(Budget(0.7, TIERS), 2000)
    by_chance = 0.5 + 0.5 * 0.25 * 0.7 / COSTS[-1]  # the same money, whoever asks
    assert by_chance + 0.03 < earned < 0.574  # 0.5735: all of it to the 16 % that gain most


def test_a_budget_that_is_never_reached_changes_nothing() -> None:
    assert spend(Budget(100.0, TIERS), 300) == spend(Budget(2.6, TIERS), 300)


def test_where_even_the_cheapest_is_too_dear_it_answers() -> None:
    cost, _ = spend(Budget(0.1, TIERS), 50)
    assert cost == pytest.approx(0.35)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        Budget(limit, TIERS)


def test_late_answers_raise_the_factor_until_one_in_ten_is_late() -> None:
    lateness, rng, late = Lateness(), np.random.default_rng(0), []
    for _ in range(2000):
        expected, limit = 100.0 * lateness.factor, 150.0
        took = rng.lognormal(np.log(200.0), 0.2) * (limit / expected if expected > limit else 1.0)
        late.append(took > limit)
        lateness.observe(late[-1])
    assert np.mean(late) <= 0.11 and np.mean(late[1000:]) == pytest.approx(0.1, abs=0.02)


def test_punctual_answers_make_nothing_bolder() -> None:
    lateness = Lateness()
    for _ in range(100):
        lateness.observe(False)
    assert lateness.factor == 1.0


def test_the_factor_is_bounded() -> None:
    lateness = Lateness()
    for _ in range(1000):
        lateness.observe(True)
    assert lateness.factor == pytest.approx(4.0)
