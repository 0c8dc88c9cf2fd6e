"""The certificate against exact arithmetic, and its promise over many draws of recorded-like outcomes."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isinf
from typing import Any

import numpy as np
import pytest

from ruvllm.router.certificate import (
    Certificate,
    Refusal,
    Watch,
    binomial_cdf,
    certify,
    clopper_pearson,
    fingerprint,
    hoeffding_bentkus,
    latency_factor,
    losses,
    routes,
    rows_needed,
    spent,
    total_losses,
)

Population = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def population() -> Population:
    """20,000 rows of three tiers, each better than the last, and scores that know something of it."""
    rng = np.random.default_rng(0)
    hardness = rng.random((20_000, 1))
    quality = (rng.random((20_000, 3)) > hardness * [0.9, 0.6, 0.3]).astype(np.float32)
    return 1.0 - hardness + rng.normal(0.0, 0.2, (20_000, 3)), quality


def certified(scores: np.ndarray, quality: np.ndarray, **options: Any) -> Certificate:
    made = certify(scores, quality, **({"floor": 0.8, "risk": 0.05} | options))
    assert isinstance(made, Certificate)
    return made


def test_binomial_tails_equal_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for n, p in ((1, 0.5), (50, 0.02), (5000, 0.1)):
        assert binomial_cdf(n, p) == pytest.approx(stats.binom.cdf(np.arange(n + 1), n, p), rel=1e-9, abs=1e-300)


def test_binomial_of_a_sure_thing() -> None:
    assert binomial_cdf(3, 0.0).tolist() == [1.0, 1.0, 1.0, 1.0]
    assert binomial_cdf(3, 1.0).tolist() == [0.0, 0.0, 0.0, 1.0]


def test_clopper_pearson_equals_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for k, n in ((0, 20), (3, 100), (90, 100)):
        assert clopper_pearson(k, n, 0.1) == pytest.approx(stats.beta.ppf(0.9, k + 1, n - k))
    assert clopper_pearson(4, 4, 0.1) == 1.0


def test_hoeffding_bentkus_is_a_p_value() -> None:
    rng = np.random.default_rng(1)
    sums = rng.beta(0.5, 4.5, (4000, 200)).sum(axis=1)  # mean 0.1
    p = hoeffding_bentkus(sums, 200, 0.1)
    assert (p <= 0.1).mean() <= 0.1
    assert hoeffding_bentkus(np.array([0.0]), 200, 0.1)[0] == pytest.approx(0.9**200)


def test_a_row_goes_to_the_cheapest_tier_that_clears() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.2, 0.1, 0.9]])
    assert routes(scores, 0.5).tolist() == [0, 1, 2]
    assert routes(scores, inf).tolist() == [2, 2, 2]


def test_harm_is_not_what_the_largest_tier_misses_too() -> None:
    quality = np.array([[0.5, 0.9], [0.5, 0.6], [0.9, 0.5]])
    assert losses(quality, 0.8, "harm").tolist() == [[1, 0], [0, 0], [0, 0]]
    assert losses(quality, 0.8, "absolute").tolist() == [[1, 0], [1, 1], [0, 1]]
    assert losses(quality, 0.8, "regret") == pytest.approx(np.array([[0.4, 0], [0.1, 0], [0, 0]]))


def test_a_floor_in_single_precision_is_met_by_itself() -> None:
    assert not losses(np.full((1, 2), 0.7, np.float32), 0.7, "absolute").any()


@pytest.mark.parametrize("loss", ["harm", "absolute", "regret"])
def test_the_walk_sums_what_each_threshold_loses(population: Population, loss: Any) -> None:
    scores, quality = np.round(population[0][:80], 1), population[1][:80]
    lost = losses(quality, 0.8, loss)
    thresholds, totals = total_losses(scores, lost)
    assert (np.diff(thresholds[1:]) < 0).all() and isinf(thresholds[0])
    assert totals == pytest.approx([lost[np.arange(80), routes(scores, t)].sum() for t in thresholds])


def test_the_threshold_is_the_boldest_that_the_exact_test_allows(population: Population) -> None:
    scores, quality = population[0][:1000, [0, 2]], population[1][:1000, [0, 2]]
    most = int(np.flatnonzero(binomial_cdf(1000, 0.05) <= 0.1)[-1])
    lost = losses(quality, 0.8, "harm")
    allowed = [t for t in scores[:, 0] if lost[np.arange(1000), routes(scores, t)].sum() <= most]
    assert certified(scores, quality).threshold == min(allowed)


@pytest.mark.parametrize(("loss", "risk"), [("harm", 0.05), ("absolute", 0.2), ("regret", 0.1)])
def test_the_risk_is_exceeded_in_at_most_delta_of_the_draws(population: Population, loss: Any, risk: float) -> None:
    scores, quality = population
    lost, rng, exceeded = losses(quality, 0.8, loss), np.random.default_rng(2), 0
    for _ in range(200):
        drawn = rng.integers(0, 20_000, 500)
        threshold = certify(scores[drawn], quality[drawn], floor=0.8, risk=risk, loss=loss).threshold
        exceeded += lost[np.arange(20_000), routes(scores, threshold)].mean() > risk
    assert exceeded / 200 <= 0.1 + 1.645 * np.sqrt(0.1 * 0.9 / 200)


def test_a_certificate_saves_calls_of_the_largest_tier(population: Population) -> None:
    made = certified(population[0][:1000], population[1][:1000], label_source="judge")
    assert made.shares[-1] < 0.9 and sum(made.shares) == pytest.approx(1.0)
    assert made.total / made.rows < made.risk < made.worst_among_routed
    assert made.label_source == "judge"


def test_later_calibrations_spend_less_and_all_of_them_delta(population: Population) -> None:
    scores, quality = population[0][:1000], population[1][:1000]
    thresholds = [certified(scores, quality, attempt=k).threshold for k in (0, 1, 4)]
    assert thresholds == sorted(thresholds) and thresholds[0] < thresholds[-1]
    assert sum(spent(0.1, k) for k in range(1, 5000)) == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(ValueError, match="attempt"):
        spent(0.1, 0)


def test_an_infeasible_floor_is_refused_with_what_can_be_reached(population: Population) -> None:
    scores, quality = population[0][:1000], population[1][:1000]
    refusal = certify(scores, quality, floor=0.8, risk=0.02, loss="absolute")
    assert isinstance(refusal, Refusal) and isinf(refusal.threshold)
    assert "largest tier itself misses" in refusal.reasons[0] and "refuse" in refusal.reasons[1]
    assert certified(scores, quality, risk=refusal.reachable_risk + 1e-6, loss="absolute").risk < 0.2


def test_without_calibration_rows_all_goes_to_the_largest_tier() -> None:
    refusal = certify(np.empty((0, 2)), np.empty((0, 2)), floor=0.8, risk=0.05)
    assert isinstance(refusal, Refusal) and "no calibration rows" in refusal.reasons[0]
    assert routes(np.ones((3, 2)), refusal.threshold).tolist() == [1, 1, 1]


def test_too_few_rows_are_refused_up_to_the_very_row() -> None:
    needed = rows_needed(0.05, 0.1)
    assert 0.95**needed <= 0.1 < 0.95 ** (needed - 1)
    good = np.ones((needed, 2))
    assert isinstance(certify(good, good, floor=0.8, risk=0.05), Certificate)
    refusal = certify(good[1:], good[1:], floor=0.8, risk=0.05)
    assert isinstance(refusal, Refusal) and refusal.rows_needed == needed and "too few" in refusal.reasons[0]


def test_useless_scores_certify_next_to_nothing(population: Population) -> None:
    quality = population[1][:1000]
    made = certified(np.random.default_rng(3).random((1000, 3)), quality)
    assert made.shares[-1] > 0.5
    constant = certified(np.ones((1000, 3)), quality)
    assert isinf(constant.threshold) and constant.shares == (0.0, 0.0, 1.0) and constant.worst_among_routed is None


def test_one_tier_alone_is_the_largest() -> None:
    made = certified(np.ones((100, 1)), np.zeros((100, 1)))
    assert isinf(made.threshold) and made.shares == (1.0,)


def test_a_certificate_ends_with_what_it_is_bound_to(population: Population) -> None:
    bound = {"router": fingerprint("a"), "embedder": fingerprint("b")}
    made = certified(population[0][:500], population[1][:500], bound_to=bound, max_requests=100, max_new_nodes=0.02)
    assert made.ended(bound, requests=99, new_nodes=0.02) is None
    assert made.ended(bound | {"router": fingerprint("c")}) == "router changed"
    assert made.ended({"router": bound["router"]}) == "embedder changed"
    assert "100 requests" in str(made.ended(bound, requests=100))
    assert "grew" in str(made.ended(bound, new_nodes=0.03))


def test_a_certificate_survives_being_written(population: Population) -> None:
    made = certified(population[0][:500], population[1][:500], bound_to={"router": "x"})
    assert Certificate.from_dict(made.to_dict()) == made
    largest = replace(made, threshold=inf)
    assert Certificate.from_dict(largest.to_dict()) == largest
    with pytest.raises(ValueError, match="certificate"):
        Certificate.from_dict({"threshold": 0.5})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"risk": 0.0}, "risk"),
        ({"confidence": 1.0}, "confidence"),
        ({"floor": 1.5}, "floor"),
        ({"loss": "pain"}, "loss"),
        ({"scores": np.full((4, 2), np.nan)}, "scores"),
        ({"quality": np.full((4, 2), np.nan)}, "quality"),
        ({"quality": np.ones((4, 3))}, "shape"),
    ],
)
def test_unusable_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    fine = {"scores": np.ones((4, 2)), "quality": np.ones((4, 2)), "floor": 0.8, "risk": 0.05}
    with pytest.raises(ValueError, match=message):
        certify(**(fine | change))


def test_fingerprints_keep_their_parts_apart() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(b"ab") == fingerprint("ab") and len(fingerprint()) == 64


def test_the_watch_seldom_raises_a_false_alarm() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for lost in rng.random((150, 1000)) < 0.05:
        watch = Watch(0.05, delta=0.1)
        alarms += any(watch.observe(float(one)) for one in lost)
    assert alarms / 150 <= 0.1 + 1.645 * np.sqrt(0.1 * 0.9 / 150)


def test_the_watch_sees_a_change_for_the_worse_after_a_long_good_time() -> None:
    rng, watch = np.random.default_rng(5), Watch(0.05)
    assert not any(watch.observe(float(one)) for one in rng.random(2000) < 0.03)
    assert any(watch.observe(float(one)) for one in rng.random(1000) < 0.15)
    assert watch.observe(0.0)  # an alarm stays


def test_the_watch_survives_being_written() -> None:
    watch = Watch(0.05)
    for _ in range(5):
        watch.observe(1.0)
    again = Watch.from_dict(watch.to_dict())
    assert again.observe(1.0) == watch.observe(1.0) and again.to_dict() == watch.to_dict()
    with pytest.raises(ValueError, match="watch"):
        Watch.from_dict(watch.to_dict() | {"capital": [1.0]})
    with pytest.raises(ValueError, match="loss"):
        watch.observe(2.0)


def test_the_latency_factor_covers_the_next_request() -> None:
    rng = np.random.default_rng(6)
    draws = rng.lognormal(0.0, 1.0, (4000, 100))
    covered = np.mean([actual[-1] <= latency_factor(actual[:-1], np.ones(99), 0.1) for actual in draws])
    assert abs(covered - 0.9) <= 3.0 * np.sqrt(0.1 * 0.9 / 4000)  # 90 of 99 ratios: exactly 0.9


def test_the_latency_factor_needs_enough_rows() -> None:
    assert latency_factor(np.arange(1.0, 10.0), np.ones(9), 0.1) == 9.0
    assert isinf(latency_factor(np.arange(1.0, 9.0), np.ones(8), 0.1))
    with pytest.raises(ValueError, match="actual_ms"):
        latency_factor(np.array([0.0]), np.ones(1), 0.1)
