"""How good a router is on questions whose outcomes are known, and how sure a difference between two of them is.

Every measure over rows comes in two forms. `apgr(score, weak, strong)` returns the figure; `apgr_over(score, weak,
strong)` returns a `Measure`, which gives the figure for any number of copies of each row. `paired_difference` takes
two of those and draws the same questions for both.

Two rules keep out-of-fold scores honest. Rows with equal scores are one block that is called up at an even rate, the
mean over all their orders: a constant score recovers exactly half. And `folds` ranks rows among those of their own fold
only, each fold getting the same share of calls: what was fitted without a fold knows its mean by omission (fitted on
the rest, a constant is low where the fold is high), so that ranks across folds measure this leak. A table of subject
means, which knows nothing within a subject, so "reaches" a within-subject APGR far below 0.5; ranked within folds it is
0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DENSE",
    "SHARES",
    "Interval",
    "Measure",
    "aiq",
    "aiq_over",
    "apgr",
    "apgr_over",
    "brier",
    "brier_over",
    "centred",
    "cheapest_good",
    "cost_quality",
    "cpt",
    "cpt_over",
    "ece",
    "paired_difference",
    "pgr",
    "quality_area",
    "roc_auc",
    "roc_auc_over",
    "router_accuracy",
    "within_topic_apgr",
    "within_topic_apgr_over",
    "zero_router",
]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]

SHARES: Floats = np.linspace(0.0, 1.0, 11)
"""Shares of calls to the strong model at which RouteLLM measures."""

DENSE: Floats = np.linspace(0.0, 1.0, 1001)

Measure = Callable[[Floats], Floats]
"""Maps copies of each row, (resamples, n), to the figure of each resample, (resamples,)."""

CHUNK = 128  # resamples at a time
DIGITS = 9  # of estimates: equal ones stay equal when a mean is taken off


# -- two tiers: who gets the calls -----------------------------------------------------------------------------------


def pgr(score: Floats, weak: Floats, strong: Floats, shares: Floats = SHARES, *, folds: Labels | None = None) -> Floats:
    """Return the performance gap recovered at each share of calls to the strong model, (len(shares),).

    PGR(c) = (r(c) - v) / (V - v), r(c) the mean quality when the share c of rows with the highest score goes to the
    strong model, v and V those of the weak and the strong model alone.

    Args:
        score: (n,) the higher, the sooner the strong model is called.
        weak, strong: (n,) quality of each model's answer.
        folds: (n,) the fold that each score was predicted for; None when one model scored all rows.

    Raises:
        ValueError: lengths differ, a value is not finite, or the strong model is not the better one.

    Source: Ong et al. 2024 (RouteLLM, arXiv:2406.18665).
    """
    score, weak, strong = _gap(score, weak, strong)
    curve: Floats = _pgr_curve(score, weak, strong, shares, folds)(np.ones((1, len(score))))[0]
    return curve


def apgr(score: Floats, weak: Floats, strong: Floats, shares: Floats = SHARES, *, folds: Labels | None = None) -> float:
    """Return the area under PGR over the share of strong calls, by the trapezoid rule; random is 0.5.

    An oracle may exceed 1, where some weak answers are the better ones. `shares=DENSE` for the whole curve.
    """
    return _figure(apgr_over(*_gap(score, weak, strong), shares, folds=folds), len(score))


def apgr_over(
    score: Floats, weak: Floats, strong: Floats, shares: Floats = SHARES, *, folds: Labels | None = None
) -> Measure:
    """Return `apgr` as a measure of resampled rows."""
    curve = _pgr_curve(score, weak, strong, shares, folds)
    return lambda copies: np.asarray(np.trapezoid(curve(copies), shares, axis=1))


def quality_area(
    score: Floats, weak: Floats, strong: Floats, shares: Floats = SHARES, *, folds: Labels | None = None
) -> float:
    """Return the mean quality over all shares of strong calls: v + APGR (V - v), in the unit of quality."""
    gap = float(np.mean(strong) - np.mean(weak))
    return float(np.mean(weak)) + gap * apgr(score, weak, strong, shares, folds=folds)


def cpt(score: Floats, weak: Floats, strong: Floats, level: float, *, folds: Labels | None = None) -> float:
    """Return the least share of strong calls that recovers `level` of the gap: min c with PGR(c) >= level.

    RouteLLM reads the share off the recovered gap, which needs a curve that never falls; here its running maximum
    counts.
    """
    return _figure(cpt_over(*_gap(score, weak, strong), level, folds=folds), len(score))


def cpt_over(score: Floats, weak: Floats, strong: Floats, level: float, *, folds: Labels | None = None) -> Measure:
    """Return `cpt` as a measure of resampled rows."""
    if not 0.0 <= level <= 1.0:
        raise ValueError(f"level must be in [0, 1] ({level})")
    curve = _pgr_curve(score, weak, strong, DENSE, folds)

    def measure(copies: Floats) -> Floats:
        reached = np.maximum.accumulate(curve(copies), axis=1)
        reached[:, -1] = np.maximum(reached[:, -1], 1.0)  # against rounding
        return np.array([_first_crossing(row, level) for row in reached])

    return measure


def within_topic_apgr(
    score: Floats, weak: Floats, strong: Floats, topics: Labels, *, folds: Labels | None = None
) -> float:
    """Return the APGR when each topic gets the same share of calls: what a score knows beyond the topic.

    The area over all shares in its pairwise form, in which the size of a topic does not matter:
    sum_i (strong_i - weak_i) b_i / sum_i (strong_i - weak_i), b_i the share of the other rows of i's topic (and fold)
    that have a lower score, equal ones counting half; 1/2 where there are no others.
    """
    return _figure(within_topic_apgr_over(*_gap(score, weak, strong), topics, folds=folds), len(score))


def within_topic_apgr_over(
    score: Floats, weak: Floats, strong: Floats, topics: Labels, *, folds: Labels | None = None
) -> Measure:
    """Return `within_topic_apgr` as a measure of resampled rows; copies of one row are not compared."""
    ranked, gain = _Ranked(score, topics, folds), np.asarray(strong, np.float64) - weak

    def measure(copies: Floats) -> Floats:
        others = ranked.group_sums(copies) - copies
        beaten = ranked.below(copies) - 0.5 * copies
        share = np.where(others > 0.0, beaten / np.maximum(others, 1.0), 0.5)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((copies * share) @ gain / (copies @ gain))

    return measure


def roc_auc(score: Floats, label: Labels, *, folds: Labels | None = None) -> float:
    """Return the chance that a row with the label has a higher score than one without, equal ones counting half.

    Raises:
        ValueError: no pair of rows (of one fold) differs in the label.
    """
    figure = _figure(roc_auc_over(score, label, folds=folds), len(score))
    if np.isnan(figure):
        raise ValueError("label must have both values")
    return figure


def roc_auc_over(score: Floats, label: Labels, *, folds: Labels | None = None) -> Measure:
    """Return `roc_auc` as a measure of resampled rows."""
    ranked, label = _Ranked(score, folds), np.asarray(label, np.bool_)

    def measure(copies: Floats) -> Floats:
        positive, negative = copies * label, copies * ~label
        pairs = (positive * ranked.group_sums(negative)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray((positive * ranked.below(negative)).sum(axis=1) / pairs)

    return measure


# -- any number of tiers: cost against quality -----------------------------------------------------------------------


def cost_quality(
    estimate: Floats, price: Floats, quality: Floats, cost: Floats, *, folds: Labels | None = None, points: int = 201
) -> Floats:
    """Return (points + 2, 2) cost and quality of a router, from always the cheapest tier to the highest estimate.

    For each trade-off lambda a row goes to argmax_t estimate_t - lambda price_t, the cheaper one of equals. The
    lambdas are spread evenly over the values at which some row changes its tier.

    Args:
        estimate: (n, T) expected quality.
        price: (T,) or (n, T) cost that the router expects.
        quality, cost: (n, T) what really came back.
        folds: (n,) as in `pgr`: estimates are first brought to one mean per tier in all folds.
    """
    routed = _routes(estimate, price, folds, points)
    rows = np.arange(len(quality))
    return np.array([(cost[rows, tier].mean(), quality[rows, tier].mean()) for tier in routed])


def aiq(points: Floats, singles: Floats) -> float:
    """Return the average improvement in quality: the mean height of the non-decreasing upper hull of (cost, quality).

    1 / (c_max - c_min) times the integral from c_min to c_max of the hull of `points`, which may be mixed at random.
    The range is that of the single tiers, the cheapest of which every router can always call. (RouterBench's code
    divides by c_max.)

    Args:
        points: (k, 2) cost and quality of the router's settings.
        singles: (T, 2) cost and quality of each tier alone.

    Source: Hu et al. 2024 (RouterBench, arXiv:2403.12031).
    """
    singles = np.asarray(singles, np.float64)
    low, high = singles[:, 0].min(), singles[:, 0].max()
    if not low < high:
        raise ValueError(f"singles must differ in cost ({low} for all)")
    cheapest = singles[singles[:, 0] == low]
    x, y = _hull(np.concatenate([cheapest, np.asarray(points, np.float64)]))
    at = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
    return float(np.trapezoid(np.interp(at, x, y), at) / (high - low))


def zero_router(singles: Floats) -> float:
    """Return the AIQ of drawing a tier at random, the hull of the single tiers: what a router must exceed."""
    return aiq(singles, singles)


def aiq_over(
    estimate: Floats, price: Floats, quality: Floats, cost: Floats, *, folds: Labels | None = None, points: int = 201
) -> Measure:
    """Return the AIQ of `cost_quality` as a measure of resampled rows."""
    rows = np.arange(len(quality))[:, None]
    routed = _routes(estimate, price, folds, points).T  # (n, points)
    costs = np.hstack([cost[rows, routed], cost])
    qualities = np.hstack([quality[rows, routed], quality])
    tiers = quality.shape[1]

    def measure(copies: Floats) -> Floats:
        size = copies.sum(axis=1, keepdims=True)
        both = np.stack([copies @ costs / size, copies @ qualities / size], axis=2)
        return np.array([aiq(each[:-tiers], each[-tiers:]) for each in both])

    return measure


def centred(estimate: Floats, folds: Labels | None) -> Floats:
    """Return (n, T) estimates whose mean per tier is the same in every fold."""
    estimate = np.array(estimate, np.float64)
    mean = estimate.mean(axis=0)
    for fold in () if folds is None else np.unique(folds):
        rows = np.asarray(folds) == fold
        estimate[rows] += mean - estimate[rows].mean(axis=0)
    return np.round(estimate, DIGITS)


def cheapest_good(quality: Floats, floor: float) -> npt.NDArray[np.int64]:
    """Return the first tier of each row of `quality` (n, T) that meets the floor, (n,); -1 where none does."""
    meets = np.asarray(quality) >= np.asarray(quality).dtype.type(floor)
    return np.where(meets.any(axis=1), np.argmax(meets, axis=1), -1)


def router_accuracy(tier: npt.NDArray[np.int64], quality: Floats, floor: float) -> tuple[float, float]:
    """Return how often `tier` (n,) is the cheapest that meets the floor where any does, and the share of such rows."""
    right = cheapest_good(quality, floor)
    known = right >= 0
    if not known.any():
        return float("nan"), 0.0
    return float((np.asarray(tier) == right)[known].mean()), float(known.mean())


# -- calibration -----------------------------------------------------------------------------------------------------


def ece(confidence: Floats, outcome: Floats, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal mass.

    sum_b (n_b / n) |mean confidence_b - mean outcome_b|; biased upwards on few rows and blind to sharpness: read it
    beside `brier`.
    """
    confidence, outcome = _checked(confidence, outcome)
    ranked = _Ranked(confidence)
    outcome = ranked.block_means(outcome)[ranked.order]
    gap = confidence[ranked.order] - outcome
    parts = np.array_split(gap, min(bins, len(gap)))
    return float(sum(abs(part.sum()) for part in parts) / len(gap))


def brier(confidence: Floats, outcome: Floats) -> float:
    """Return the mean squared distance of confidence from outcome."""
    confidence, outcome = _checked(confidence, outcome)
    return float(np.mean((confidence - outcome) ** 2))


def brier_over(confidence: Floats, outcome: Floats) -> Measure:
    """Return `brier` as a measure of resampled rows."""
    squared = (np.asarray(confidence, np.float64) - outcome) ** 2
    return lambda copies: np.asarray(copies @ squared / copies.sum(axis=1))


# -- differences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def paired_difference(
    a: Measure,
    b: Measure | None,
    n: int,
    *,
    clusters: Labels | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a - b on `n` rows with its percentile-bootstrap interval, both measured on the same drawn rows.

    Args:
        b: None for the interval of `a` itself.
        clusters: (n,) what each row belongs to, such as its question; whole clusters are drawn.
        level: coverage of the interval.
    """
    rng = np.random.default_rng(seed)
    member = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = int(member.max()) + 1

    def differences(copies: Floats) -> Floats:
        return a(copies) if b is None else a(copies) - b(copies)

    drawn = []
    for start in range(0, resamples, CHUNK):
        rows = [
            np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(min(CHUNK, resamples - start))
        ]
        drawn.append(differences(np.array(rows, np.float64)[:, member]))
    low, high = np.nanpercentile(np.concatenate(drawn), [50.0 * (1.0 - level), 50.0 * (1.0 + level)])
    return Interval(float(differences(np.ones((1, n)))[0]), float(low), float(high))


# -- the arithmetic below --------------------------------------------------------------------------------------------


class _Ranked:
    """Rows by group, then by score from high to low; rows of a group with equal scores are one block."""

    def __init__(self, score: Floats, *groups: Labels | None) -> None:
        score = np.asarray(score, np.float64)
        codes = [np.unique(group, return_inverse=True)[1] for group in groups if group is not None]
        self.order = np.lexsort((-score, *codes))
        steps = np.zeros(len(score), np.bool_)
        steps[:1] = True
        for code in codes:
            steps[1:] |= np.diff(code[self.order]) != 0
        self.group_starts = np.flatnonzero(steps)
        steps[1:] |= np.diff(score[self.order]) != 0
        self.block_starts = np.flatnonzero(steps)
        # the blocks of group g are first_block[g] : first_block[g + 1]
        self.first_block = np.append(np.searchsorted(self.block_starts, self.group_starts), len(self.block_starts))
        self._block = np.empty(len(score), np.int64)  # of each row
        self._block[self.order] = np.cumsum(steps) - 1
        self._group_of_block = np.repeat(np.arange(len(self.group_starts)), np.diff(self.first_block))

    def block_sums(self, values: Floats) -> Floats:
        """Return (resamples, blocks) sums of (resamples, n)."""
        return np.asarray(np.add.reduceat(values[:, self.order], self.block_starts, axis=1))

    def group_sums(self, values: Floats) -> Floats:
        """Return for each row the sum over its group, (resamples, n)."""
        sums = np.add.reduceat(values[:, self.order], self.group_starts, axis=1)
        return np.asarray(sums[:, self._group_of_block[self._block]])

    def block_means(self, values: Floats) -> Floats:
        """Return for each row the mean over its block, (n,)."""
        sizes = np.diff(np.append(self.block_starts, len(self.order)))
        return np.asarray((self.block_sums(values[None])[0] / sizes)[self._block])

    def below(self, weights: Floats) -> Floats:
        """Return for each row the weight of its group below its score, plus half of that at it, (resamples, n)."""
        block = self.block_sums(weights)
        upto = np.cumsum(block, axis=1)
        total = upto[:, self.first_block[1:] - 1][:, self._group_of_block]
        return np.asarray((total - upto + 0.5 * block)[:, self._block])


def _pgr_curve(
    score: Floats, weak: Floats, strong: Floats, shares: Floats, folds: Labels | None
) -> Callable[[Floats], Floats]:
    """Return what maps (resamples, n) copies to (resamples, shares) recovered gap."""
    ranked, gain = _Ranked(score, folds), np.asarray(strong, np.float64) - weak

    def curve(copies: Floats) -> Floats:
        calls, gains = ranked.block_sums(copies), ranked.block_sums(copies * gain)
        recovered = np.zeros((len(copies), len(shares)))
        for first, last in zip(ranked.first_block[:-1], ranked.first_block[1:], strict=True):
            x = np.pad(np.cumsum(calls[:, first:last], axis=1), ((0, 0), (1, 0)))
            y = np.pad(np.cumsum(gains[:, first:last], axis=1), ((0, 0), (1, 0)))
            for row, called, gained in zip(recovered, x, y, strict=True):
                row += np.interp(shares * called[-1], called, gained)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(recovered / (copies @ gain)[:, None])

    return curve


def _first_crossing(reached: Floats, level: float) -> float:
    """Return the share at which a curve over DENSE, which never falls, first is at `level`."""
    i = int(np.argmax(reached >= level))
    if i == 0:
        return 0.0
    before, after = reached[i - 1], reached[i]
    return float(DENSE[i - 1] + (level - before) / (after - before) * (DENSE[i] - DENSE[i - 1]))


def _routes(estimate: Floats, price: Floats, folds: Labels | None, points: int) -> npt.NDArray[np.int64]:
    """Return (points + 2, n) the tier of each row at trade-offs from infinite to 0."""
    estimate = centred(estimate, folds)
    price = np.broadcast_to(np.asarray(price, np.float64), estimate.shape)
    tiers = range(estimate.shape[1])
    gain = np.concatenate([estimate[:, t] - estimate[:, s] for t in tiers for s in tiers if s != t])
    extra = np.concatenate([price[:, t] - price[:, s] for t in tiers for s in tiers if s != t])
    turning = (gain / np.where(extra > 0.0, extra, np.inf))[(gain > 0.0) & (extra > 0.0)]
    lambdas = np.quantile(turning, np.linspace(1.0, 0.0, points)) if len(turning) else np.zeros(points)
    by_price = np.argsort(price, axis=1, kind="stable")  # argmax takes the first of equals: the cheapest
    estimate, price = np.take_along_axis(estimate, by_price, 1), np.take_along_axis(price, by_price, 1)
    places = np.array(
        [np.zeros(len(estimate), np.int64), *(np.argmax(estimate - x * price, 1) for x in (*lambdas, 0.0))]
    )
    return np.asarray(np.take_along_axis(by_price, places.T, 1).T)


def _hull(points: Floats) -> tuple[Floats, Floats]:
    """Return cost and quality of the corners of the non-decreasing upper hull, by cost."""
    corners: list[tuple[float, float]] = []
    for x, y in points[np.lexsort((-points[:, 1], points[:, 0]))].tolist():
        if corners and y <= corners[-1][1]:
            continue
        while len(corners) > 1 and _is_under(corners[-1], corners[-2], (x, y)):
            corners.pop()
        corners.append((x, y))
    hull = np.array(corners)
    return hull[:, 0], hull[:, 1]


def _is_under(p: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> bool:
    return (p[1] - a[1]) * (b[0] - a[0]) <= (b[1] - a[1]) * (p[0] - a[0])


def _figure(measure: Measure, n: int) -> float:
    return float(measure(np.ones((1, n)))[0])


def _checked(*columns: Floats) -> list[Floats]:
    """Return columns of one length and finite values as float64."""
    checked = [np.asarray(column, np.float64) for column in columns]
    shapes = [column.shape for column in checked]
    if any(shape != shapes[0] or len(shape) != 1 for shape in shapes) or not len(checked[0]):
        raise ValueError(f"columns must be (n,) with n >= 1 ({shapes})")
    if not all(np.isfinite(column).all() for column in checked):
        raise ValueError("columns must be finite")
    return checked


def _gap(score: Floats, weak: Floats, strong: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the columns, checked to leave a gap that can be recovered."""
    score, weak, strong = _checked(score, weak, strong)
    if not strong.mean() > weak.mean():
        raise ValueError(f"strong must be better than weak ({strong.mean():.4f} <= {weak.mean():.4f})")
    return score, weak, strong
