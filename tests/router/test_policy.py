"""Which tier answers, given what is expected of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.cases import TIERS
from ruvllm.router.budget import Terms
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Choice, Policy, choose, permitted
from ruvllm.types import Constraints

POLICY = Policy(quality_floor=0.7, explore=0.0, safe_default=2)
QUALITY = (0.5, 0.75, 0.85, 0.95)
ANY = Constraints()
LATENCY = (50.0, 100.0, 200.0, 400.0)


def chosen(
    quality: tuple[float, ...] = QUALITY,
    *,
    confidence: float | None = 0.9,
    policy: Policy = POLICY,
    constraints: Constraints = ANY,
    tiers: tuple[TierInfo, ...] = TIERS,
    seed: int = 0,
    **more: Any,
) -> Choice:
    rng = np.random.default_rng(seed)
    return choose(tiers, quality, LATENCY[: len(tiers)], confidence, policy, constraints, rng, **more)


def test_router_prefers_smaller_model_when_quality_sufficient() -> None:
    two = (TierInfo("700m", 700_000_000, 0.001), TierInfo("1.2b", 1_200_000_000, 0.003))
    assert chosen((0.92, 0.93), tiers=two, policy=replace(POLICY, safe_default=1)).tier == 0


def test_router_escalates_for_complex_queries() -> None:
    two = (TierInfo("700m", 700_000_000, 0.001), TierInfo("2.6b", 2_600_000_000, 0.006))
    assert chosen((0.45, 0.91), tiers=two, policy=replace(POLICY, safe_default=0)).tier == 1


def test_confidence_threshold_triggers_fallback() -> None:
    choice = chosen(confidence=0.3)
    assert (choice.tier, choice.decided_by) == (2, "safe default")
    assert "0.30" in choice.reason


def test_nothing_learnt_leaves_the_safe_default() -> None:
    assert chosen(confidence=None).tier == 2


def test_no_tier_at_the_floor_leaves_the_best() -> None:
    choice = chosen((0.3, 0.6, 0.5, 0.4))
    assert choice.tier == 1 and "no tier" in choice.reason


def test_a_request_may_ask_for_more_quality() -> None:
    assert chosen(constraints=Constraints(min_quality=0.9)).tier == 3


def test_latency_and_cost_budgets_leave_cheaper_tiers() -> None:
    assert chosen((0.1, 0.2, 0.3, 0.9), constraints=Constraints(max_latency_ms=150.0)).tier == 1
    assert chosen((0.1, 0.2, 0.3, 0.9), constraints=Constraints(max_cost=0.5)).tier == 0


def test_a_budget_that_no_tier_keeps_is_said() -> None:
    choice = chosen(constraints=Constraints(max_latency_ms=10.0))
    assert choice.tier == 0 and "10 ms" in choice.reason


def test_privacy_is_always_kept() -> None:
    remote = (TierInfo("small", 1, 0.1), TierInfo("https://host/v1#large", None, 9.0, is_local=False))
    safe = replace(POLICY, safe_default=1)
    choice = chosen((0.1, 0.9), tiers=remote, policy=safe, constraints=Constraints(privacy="local"), confidence=None)
    assert choice.tier == 0
    with pytest.raises(ValueError, match="privacy"):
        permitted(remote[1:], (1.0,), Constraints(privacy="local"))


def test_a_session_changes_over_only_when_it_pays() -> None:
    assert chosen((0.68, 0.9, 0.9, 0.9), previous=0).tier == 0  # short by less than the hysteresis
    assert chosen((0.6, 0.9, 0.9, 0.9), previous=0).tier == 1
    assert chosen((0.72, 0.9, 0.9, 0.9), previous=1).tier == 1
    assert chosen((0.8, 0.9, 0.9, 0.9), previous=1).tier == 0


def test_exploration_keeps_its_share_and_tells_its_propensity() -> None:
    policy = replace(POLICY, explore=0.2)
    draws = [chosen(policy=policy, seed=seed) for seed in range(2000)]
    assert draws[0].propensity == pytest.approx((0.05, 0.85, 0.05, 0.05))
    counts = np.bincount([choice.tier for choice in draws], minlength=4) / len(draws)
    np.testing.assert_allclose(counts, draws[0].propensity, atol=0.03)


def test_tiers_without_outcomes_are_explored_first() -> None:
    choice = chosen(policy=replace(POLICY, explore=0.02), counts=(0, 500, 500, 500))
    assert choice.propensity == pytest.approx((0.2, 0.8, 0.0, 0.0))


def test_certified_decides_by_the_threshold_alone() -> None:
    certified = replace(POLICY, certified=True, threshold=0.8, explore=0.5)
    choices = {chosen(policy=certified, seed=seed, confidence=0.0).tier for seed in range(50)}
    assert choices == {2}
    assert chosen((0.1, 0.1, 0.1, 0.1), policy=certified).tier == 3


def test_certified_without_a_certificate_leaves_the_largest() -> None:
    choice = chosen(policy=replace(POLICY, certified=True, threshold=None))
    assert choice.tier == 3 and "no certificate" in choice.reason


def test_certified_says_when_constraints_leave_nothing_promised() -> None:
    certified = replace(POLICY, certified=True, threshold=0.9)
    choice = chosen(policy=certified, constraints=Constraints(max_cost=1.0))
    assert choice.tier == 1 and choice.decided_by == "constraints" and "nothing is promised" in choice.reason
    bold = replace(certified, threshold=0.6)
    assert chosen(policy=bold).decided_by == "certificate"
    choice = chosen(policy=bold, constraints=Constraints(min_quality=0.9))
    assert choice.tier == 3 and choice.decided_by == "constraints"


def test_the_configured_latency_holds_where_a_request_says_nothing() -> None:
    policy = replace(POLICY, max_latency_ms=150.0)
    assert chosen((0.1, 0.2, 0.3, 0.9), policy=policy).tier == 1
    assert chosen((0.1, 0.2, 0.3, 0.9), policy=policy, constraints=Constraints(max_latency_ms=300.0)).tier == 2
    assert chosen(policy=replace(policy, certified=True)).tier == 3


# -- budgets -----------------------------------------------------------------------------------------------------------


def test_a_price_sends_down_what_gains_too_little() -> None:
    dear, cheap = (chosen((0.5, 0.6, 0.65, gained), terms=Terms(price=0.1)) for gained in (0.95, 0.75))
    assert (dear.tier, cheap.tier, cheap.wanted) == (3, 1, 3)
    assert (dear.decided_by, cheap.decided_by) == ("router", "budget") and "700m" in cheap.reason


def test_an_empty_purse_leaves_the_cheapest() -> None:
    choice = chosen(terms=Terms(purse=0.1), policy=replace(POLICY, explore=1.0))
    assert (choice.tier, choice.propensity) == (0, (1.0, 0.0, 0.0, 0.0))


def test_a_budget_never_makes_a_choice_dearer() -> None:
    assert chosen((0.75, 0.1, 0.2, 0.99), terms=Terms(price=1e-9)).tier == 0


def test_what_a_budget_allows_stays_as_it_was() -> None:
    assert chosen(confidence=None, terms=Terms(purse=5.0)).tier == 2
