"""What figures and rows of a trial decide."""

from __future__ import annotations

import pytest

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import (
    ABDecision,
    ABMetrics,
    ABTestResults,
    Action,
    TrialPair,
    TrialRow,
    evaluate_canary,
    evaluate_shadow,
)
from tuning.rollout_rows import pairs, rows

SIGNIFICANCE_THRESHOLD = 0.05
CONFIG = RolloutConfig(shadow_requests=500, canary_requests=300, quality_margin=0.04, canary_margin=0.04)


def figures(quality: float, latency_p50: float = 200.0, failure_rate: float = 0.02, n: int | None = None) -> ABMetrics:
    return ABMetrics(quality=quality, latency_p50=latency_p50, failure_rate=failure_rate, n=n)


def test_ab_test_detects_regression() -> None:
    results = ABTestResults(
        control=ABMetrics(quality=0.90, latency_p50=200.0, failure_rate=0.02),
        treatment=ABMetrics(quality=0.88, latency_p50=180.0, failure_rate=0.05),
    )
    decision = ABDecision.evaluate(results, SIGNIFICANCE_THRESHOLD)
    assert decision == ABDecision.KeepControl
    assert "quality_regression" in decision.reasons() and "failure_rate_regression" in decision.reasons()


def test_figures_that_tie_or_win_are_promoted() -> None:
    for better in (figures(0.9), figures(0.95, 150.0, 0.0)):
        assert ABDecision.evaluate(ABTestResults(figures(0.9), better)) == ABDecision.Promote


def test_a_late_student_is_not_promoted() -> None:
    decision = ABDecision.evaluate(ABTestResults(figures(0.9), figures(0.95, latency_p50=400.0)))
    assert decision == ABDecision.KeepControl and decision.reasons() == ("latency_regression",)


@pytest.mark.parametrize(
    ("quality", "n", "action"),
    [(0.88, 300, Action.CONTINUE), (0.8, 5000, Action.KEEP_CONTROL), (0.9, 20_000, Action.PROMOTE)],
)
def test_figures_of_few_requests_decide_less(quality: float, n: int, action: Action) -> None:
    results = ABTestResults(figures(0.9, failure_rate=0.0, n=n), figures(quality, failure_rate=0.0, n=n))
    assert ABDecision.evaluate(results, SIGNIFICANCE_THRESHOLD).action == action


@pytest.mark.parametrize(
    ("options", "message"),
    [({"quality": 1.2}, "quality"), ({"failure_rate": -0.1}, "failure_rate"), ({"latency_p50": -1.0}, "latency_p50")],
)
def test_figures_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ABMetrics(**({"quality": 0.9, "latency_p50": 200.0, "failure_rate": 0.0} | options))


def test_one_arm_alone_cannot_be_an_estimate() -> None:
    with pytest.raises(ValueError, match="both arms"):
        ABTestResults(figures(0.9, n=100), figures(0.9))


def test_a_student_as_good_goes_on_once_there_are_enough_pairs() -> None:
    assert evaluate_shadow(pairs(499), CONFIG).reasons()[0] == "too_few_requests"
    decision = evaluate_shadow(pairs(1500), CONFIG)
    assert decision == ABDecision.Promote and decision.requests == 1500
    assert decision.reasons() == ("quality_not_worse", "failure_rate_not_worse", "latency_not_worse")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"treatment": 0.6}, "quality_regression"),
        ({"failure_rate": 0.2}, "quality_regression"),  # a failed answer is worth nothing
        ({"latency_ms": 600.0}, "latency_regression"),
    ],
)
def test_what_is_proven_worse_keeps_the_control(options: dict[str, float], reason: str) -> None:
    decision = evaluate_shadow(pairs(600, **options), CONFIG)
    assert decision == ABDecision.KeepControl and reason in decision.reasons()


def test_failures_are_found_without_any_judge() -> None:
    failing = [TrialPair(TrialRow(None, 300.0), TrialRow(None, 300.0, failed=i % 10 == 0)) for i in range(300)]
    decision = evaluate_shadow(failing, CONFIG)
    assert decision == ABDecision.KeepControl and decision.reasons() == ("failure_rate_regression",)


def test_a_disaster_is_found_within_few_pairs() -> None:
    assert evaluate_shadow(pairs(25, control=0.95, treatment=0.05), CONFIG) == ABDecision.KeepControl


def test_unjudged_pairs_leave_quality_undecided() -> None:
    unjudged = [TrialPair(TrialRow(None, 300.0), TrialRow(None, 300.0)) for _ in range(2000)]
    decision = evaluate_shadow(unjudged, CONFIG)
    assert decision == ABDecision.Continue and decision.reasons() == ("quality_undecided",)


def test_a_trial_without_a_decision_ends_with_the_control() -> None:
    limited = RolloutConfig(shadow_requests=300, canary_requests=300, max_requests=400, quality_margin=0.001)
    decision = evaluate_shadow(pairs(400), limited)
    assert decision == ABDecision.KeepControl
    assert decision.reasons()[:2] == ("too_many_requests", "quality_undecided")


def test_a_canary_of_a_good_student_is_promoted_and_of_a_bad_one_is_not() -> None:
    control = rows(9000, 0.7, seed=1, per_session=5)
    good, bad = rows(1000, 0.7, seed=2, per_session=5), rows(1000, 0.6, seed=3, per_session=5)
    assert evaluate_canary(control, good, CONFIG) == ABDecision.Promote
    assert evaluate_canary(control, bad, CONFIG).reasons() == ("quality_regression",)


def test_a_canary_that_fails_keeps_the_control() -> None:
    control, failing = rows(900, 0.7, seed=1), rows(100, 0.7, seed=2, failure_rate=0.3)
    assert "failure_rate_regression" in evaluate_canary(control, failing, CONFIG).reasons()


def test_requests_of_few_sessions_prove_little() -> None:
    control = rows(9000, 0.7, seed=1)
    decision = evaluate_canary(control, rows(1000, 0.55, seed=3, per_session=50), CONFIG)  # 20 sessions
    assert decision == ABDecision.Continue and "quality_undecided" in decision.reasons()


def test_the_detectable_loss_shrinks_with_requests() -> None:
    found = [evaluate_shadow(pairs(n), CONFIG).detectable_loss for n in (300, 1000, 4000)]
    assert found == sorted(found, reverse=True) and 0.005 < found[-1] < 0.03


def test_nothing_decides_nothing() -> None:
    for decision in (evaluate_shadow([], CONFIG), evaluate_canary([], [], CONFIG)):
        assert decision == ABDecision.Continue and decision.reasons()[0] == "too_few_requests"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (TrialRow(1.5, 300.0), "quality"),
        (TrialRow(float("nan"), 300.0), "quality"),
        (TrialRow(0.5, float("inf")), "latency_ms"),
        (TrialRow(0.5, -1.0), "latency_ms"),
    ],
)
def test_rows_out_of_range_are_refused(row: TrialRow, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_canary([row], [], CONFIG)


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        ABDecision.evaluate(ABTestResults(figures(0.9), figures(0.9)), 0.0)
