"""Measures of routers against brute force, and the ties and folds that must not move them."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.measures import (
    DENSE,
    aiq,
    aiq_over,
    apgr,
    apgr_over,
    brier,
    cheapest_good,
    cost_quality,
    cpt,
    ece,
    paired_difference,
    pgr,
    quality_area,
    roc_auc,
    router_accuracy,
    within_topic_apgr,
    within_topic_apgr_over,
    zero_router,
)

Table = tuple[np.ndarray, np.ndarray, np.ndarray]

SINGLES = np.array([[1.0, 0.5], [2.0, 0.6], [5.0, 0.9]])


@pytest.fixture
def table() -> Table:
    """A score that knows something, and the quality of a weak and a strong model."""
    rng = np.random.default_rng(0)
    hardness = rng.random(400)
    weak, strong = (rng.random(400) > hardness).astype(float), (rng.random(400) > 0.3 * hardness).astype(float)
    return hardness + rng.normal(0.0, 0.3, 400), weak, strong


def test_apgr_is_the_trapezoid_over_rounded_calls(table: Table) -> None:
    score, weak, strong = table
    order, recovered = np.argsort(-score), []
    for share in np.linspace(0.0, 1.0, 11):
        to_strong = np.isin(np.arange(400), order[: round(share * 400)])
        recovered.append((np.where(to_strong, strong, weak).mean() - weak.mean()) / (strong.mean() - weak.mean()))
    assert pgr(score, weak, strong) == pytest.approx(recovered)
    assert apgr(score, weak, strong) == pytest.approx(np.trapezoid(recovered, dx=0.1))


def test_random_scores_recover_half_within_noise(table: Table) -> None:
    _, weak, strong = table
    rng = np.random.default_rng(1)
    values = [apgr(rng.random(400), weak, strong) for _ in range(200)]
    assert abs(np.mean(values) - 0.5) < 3.0 * np.std(values) / np.sqrt(200)


def test_equal_scores_recover_exactly_half(table: Table) -> None:
    _, weak, strong = table
    assert apgr(np.ones(400), weak, strong) == pytest.approx(0.5)
    assert cpt(np.ones(400), weak, strong, 0.8) == pytest.approx(0.8)
    assert within_topic_apgr(np.ones(400), weak, strong, np.arange(400) % 7) == pytest.approx(0.5)


def test_tied_rows_count_as_the_mean_over_their_orders(table: Table) -> None:
    score, weak, strong = table
    coarse, rng = np.round(score), np.random.default_rng(2)
    orders = [apgr(coarse + 1e-6 * rng.random(400), weak, strong, DENSE) for _ in range(300)]
    assert abs(np.mean(orders) - apgr(coarse, weak, strong, DENSE)) < 3.5 * np.std(orders) / np.sqrt(300)


def test_a_constant_per_fold_leaks_unless_ranked_within_folds(table: Table) -> None:
    _, weak, strong = table
    folds = np.arange(400) % 10
    gain = strong - weak
    score = np.array([gain[folds != fold].mean() for fold in range(10)])[folds]
    assert apgr(score, weak, strong) < 0.49
    assert apgr(score, weak, strong, folds=folds) == pytest.approx(0.5)


def test_a_topic_table_knows_nothing_within_a_topic(table: Table) -> None:
    _, weak, strong = table
    folds, topics = np.arange(400) % 10, np.arange(400) // 40
    gain = strong - weak
    score = np.array(
        [gain[(topics == topic) & (folds != fold)].mean() for topic, fold in zip(topics, folds, strict=True)]
    )
    assert within_topic_apgr(score, weak, strong, topics) < 0.4
    assert within_topic_apgr(score, weak, strong, topics, folds=folds) == pytest.approx(0.5)


def test_within_topic_apgr_of_one_topic_is_the_dense_curve(table: Table) -> None:
    score, weak, strong = table
    shares = np.linspace(0.0, 1.0, 401)  # every cut: the trapezoid is exact up to the pair of a row with itself
    expected = 0.5 + (apgr(score, weak, strong, shares) - 0.5) * 400 / 399
    assert within_topic_apgr(score, weak, strong, np.zeros(400)) == pytest.approx(expected)


def test_an_oracle_recovers_more_than_the_gap_where_some_weak_answers_are_better(table: Table) -> None:
    _, weak, strong = table
    assert pgr(strong - weak, weak, strong).max() > 1.1


def test_cpt_is_the_first_share_that_recovers_the_level(table: Table) -> None:
    score, weak, strong = table
    share = cpt(score, weak, strong, 0.5)
    before, at = pgr(score, weak, strong, np.array([share - 0.01, share]))
    assert before < 0.5 == pytest.approx(at, abs=2e-3)
    assert cpt(score, weak, strong, 0.0) == 0.0
    assert share <= cpt(score, weak, strong, 0.8) <= cpt(score, weak, strong, 1.0) <= 1.0


def test_the_area_in_points_lies_between_the_models(table: Table) -> None:
    _, weak, strong = table
    assert quality_area(np.ones(400), weak, strong) == pytest.approx((weak.mean() + strong.mean()) / 2)


def test_roc_auc_counts_pairs_and_halves_ties() -> None:
    score, label = np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False])
    assert roc_auc(score, label) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert roc_auc(score, label, folds=np.array([0, 1, 1, 0])) == pytest.approx((1 + 0.5) / 2)
    with pytest.raises(ValueError, match="label"):
        roc_auc(score, np.ones(4, bool))


def test_aiq_of_the_single_models_is_the_zero_router() -> None:
    # between 1 and 5 the hull is the straight line from 0.5 to 0.9; the middle model lies on it or below
    assert zero_router(SINGLES) == pytest.approx(0.7)
    assert aiq(np.array([[2.0, 0.9]]), SINGLES) == pytest.approx((0.7 * 1.0 + 0.9 * 3.0) / 4.0)


def test_aiq_never_falls_with_cost() -> None:
    worse = np.array([[2.0, 0.8], [4.0, 0.6]])
    assert aiq(worse, SINGLES) == pytest.approx((0.65 * 1.0 + 0.8 * 3.0) / 4.0)
    with pytest.raises(ValueError, match="cost"):
        aiq(worse, np.array([[1.0, 0.2], [1.0, 0.4]]))


def test_equal_estimates_route_like_the_single_models(table: Table) -> None:
    _, weak, strong = table
    quality, cost = np.stack([weak, strong], 1), np.tile([1.0, 3.0], (400, 1))
    folds = np.arange(400) % 10
    estimate = np.array([quality[folds != fold].mean(axis=0) for fold in range(10)])[folds]
    singles = np.stack([cost.mean(axis=0), quality.mean(axis=0)], 1)
    points = cost_quality(estimate, np.array([1.0, 3.0]), quality, cost, folds=folds)
    assert aiq(points, singles) == pytest.approx(zero_router(singles))
    assert points[0] == pytest.approx(singles[0])


def test_true_estimates_give_the_best_frontier(table: Table) -> None:
    _, weak, strong = table
    quality, cost = np.stack([weak, strong], 1), np.tile([1.0, 3.0], (400, 1))
    points = cost_quality(quality, np.array([1.0, 3.0]), quality, cost)
    assert points[-1] == pytest.approx([1.0 + 2.0 * (strong > weak).mean(), np.maximum(weak, strong).mean()])


def test_accuracy_counts_the_cheapest_good_tier_where_there_is_one() -> None:
    quality = np.array([[0.9, 0.9], [0.2, 0.8], [0.1, 0.3], [0.8, 0.1]], np.float32)
    assert cheapest_good(quality, 0.8).tolist() == [0, 1, -1, 0]
    assert router_accuracy(np.array([0, 1, 1, 1]), quality, 0.8) == pytest.approx((2 / 3, 3 / 4))


def test_ece_of_a_constant_is_its_distance_from_the_rate() -> None:
    outcome = np.arange(200) % 4 == 0
    assert ece(np.full(200, 0.4), outcome) == pytest.approx(0.15)
    assert brier(np.full(200, 0.25), outcome) == pytest.approx(0.25 * 0.75)


def test_ece_is_taken_in_bins_of_equal_mass() -> None:
    confidence, outcome = np.linspace(0.01, 0.99, 60), np.random.default_rng(3).random(60) < 0.5
    gaps = [abs((confidence - outcome)[4 * i : 4 * i + 4].mean()) for i in range(15)]
    assert ece(confidence, outcome) == pytest.approx(np.mean(gaps))


def test_a_measure_counts_copies_like_repeated_rows(table: Table) -> None:
    score, weak, strong = (column[:60] for column in table)
    copies = np.random.default_rng(4).integers(0, 3, 60)
    repeated = [np.repeat(column, copies) for column in (score, weak, strong)]
    assert apgr_over(score, weak, strong)(copies[None].astype(float))[0] == pytest.approx(apgr(*repeated))


def test_a_bootstrap_does_not_pull_small_topics_to_half(table: Table) -> None:
    score, weak, strong = table
    measure = within_topic_apgr_over(score, weak, strong, np.arange(400) // 5)
    interval = paired_difference(measure, None, 400)
    assert interval.value == pytest.approx((interval.low + interval.high) / 2, abs=0.02)


def test_paired_intervals_cover_zero_when_nothing_differs(table: Table) -> None:
    score, weak, strong = table
    same = apgr_over(score, weak, strong)
    assert paired_difference(same, same, 400, resamples=50).high == 0.0
    other = apgr_over(np.random.default_rng(5).random(400), weak, strong)
    better = paired_difference(same, other, 400, resamples=300)
    assert 0.0 < better.low < better.value < better.high


def test_the_bootstrap_draws_whole_clusters(table: Table) -> None:
    score, weak, strong = (np.repeat(column[:50], 8) for column in table)
    measure = apgr_over(score, weak, strong)
    rows = paired_difference(measure, None, 400, resamples=200)
    questions = paired_difference(measure, None, 400, clusters=np.arange(400) // 8, resamples=200)
    assert questions.high - questions.low > 2.0 * (rows.high - rows.low)


def test_aiq_is_resampled_with_its_range(table: Table) -> None:
    score, weak, strong = table
    quality, cost = np.stack([weak, strong], 1), np.tile([1.0, 3.0], (400, 1))
    estimate, price = np.stack([1.0 - score, np.ones(400)], 1), np.array([1.0, 3.0])
    singles = np.stack([cost.mean(axis=0), quality.mean(axis=0)], 1)
    interval = paired_difference(aiq_over(estimate, price, quality, cost), None, 400, resamples=50)
    assert interval.value == pytest.approx(aiq(cost_quality(estimate, price, quality, cost), singles))
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize(
    ("score", "weak", "strong", "message"),
    [
        ([1.0, 2.0], [0.0], [1.0, 1.0], "columns must be"),
        ([1.0, np.nan], [0.0, 0.0], [1.0, 1.0], "finite"),
        ([1.0, 2.0], [1.0, 0.0], [0.0, 1.0], "strong must be better"),
        ([], [], [], "n >= 1"),
    ],
)
def test_unusable_columns_are_refused(score: list, weak: list, strong: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apgr(np.array(score), np.array(weak), np.array(strong))
