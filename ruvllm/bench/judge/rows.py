"""Figures of a judge beside those of its baselines, as rows of a report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Row
from ruvllm.learning.judge.training import calibrate
from ruvllm.router.measures import Measure, brier, ece, paired_difference, roc_auc_over

__all__ = ["accuracy_rows", "auroc_rows", "calibration_rows"]

Floats = npt.NDArray[np.float64]

LABELS = 200
FRESH = 1000  # answers that a calibration must be measured on, at least
ORDERS = 5
ECE_TARGET = 0.05
BINS = 10  # of equal mass; of 15, a perfect calibration of 1,000 answers would show 0.04 by chance


def auroc_rows(
    name: str,
    score: Floats,
    is_right: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.str_],
    baselines: Mapping[str, Floats],
    *,
    target: float | None = None,
) -> list[Row]:
    """Return the AUROC of a score, beside baselines, and its lead over each; whole groups are resampled.

    A baseline counts in whichever direction it is better: nobody would use length the wrong way round.
    """
    measures = {peer: _best_way(values, is_right) for peer, values in baselines.items()}
    return _rows(name, "AUROC", roc_auc_over(score, is_right), measures, groups, target)


def accuracy_rows(name: str, lead: Floats, groups: npt.NDArray[np.str_], baselines: Mapping[str, Floats]) -> list[Row]:
    """Return how often the preferred answer of a pair leads, equal ones counting half; leads are (n,)."""

    def share(lead: Floats) -> Measure:
        wins = (lead > 0.0) + 0.5 * (lead == 0.0)
        return lambda copies: np.asarray(copies @ wins / copies.sum(axis=1))

    measures = {}
    for peer, values in baselines.items():
        backward = ((values > 0.0) + 0.5 * (values == 0.0)).mean() < 0.5
        measures[peer] = share(-values if backward else values)
    return _rows(name, "pair accuracy", share(lead), measures, groups, None)


def _best_way(values: Floats, is_right: npt.NDArray[np.bool_]) -> Measure:
    forward, backward = roc_auc_over(values, is_right), roc_auc_over(-values, is_right)
    every = np.ones((1, len(values)))
    return forward if forward(every)[0] >= 0.5 else backward


def _rows(
    name: str,
    unit: str,
    ours: Measure,
    baselines: Mapping[str, Measure],
    groups: npt.NDArray[np.str_],
    target: float | None,
) -> list[Row]:
    n = len(groups)
    own = paired_difference(ours, None, n, clusters=groups)
    peers = {peer: float(measure(np.ones((1, n)))[0]) for peer, measure in baselines.items()}
    met = None if target is None else own.value >= target
    rows = [Row(f"{name} (n={n})", own.value, unit, (own.low, own.high), peers, target=target, met=met)]
    for peer, measure in baselines.items():
        lead = paired_difference(ours, measure, n, clusters=groups)
        rows.append(Row(f"{name}, lead over {peer}", lead.value, unit, (lead.low, lead.high), met=lead.low > 0.0))
    return rows


def calibration_rows(
    name: str, score: Floats, is_right: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_]
) -> list[Row]:
    """Return ECE and Brier score on fresh questions before and after `LABELS` labels, the mean of seeded orders; none
    where too few answers are left. As in use, one answer to a question is rated."""
    quality = is_right.astype(np.float64)
    before: list[tuple[float, float]] = []
    after: list[tuple[float, float]] = []
    for seed in range(ORDERS):
        rng = np.random.default_rng(seed)
        asked = rng.permutation(np.unique(groups))[:LABELS]
        taught = np.array([rng.choice(np.flatnonzero(groups == group)) for group in asked])
        fresh = ~np.isin(groups, asked)
        if len(asked) < LABELS or fresh.sum() < FRESH:
            return []
        calibration = calibrate(score[taught], quality[taught], seed)
        for found, said in ((before, score[fresh]), (after, calibration.apply(score[fresh]))):
            found.append((ece(said, quality[fresh], BINS), brier(said, quality[fresh])))
    base = float(np.mean(quality) * (1.0 - np.mean(quality)))
    rows = []
    for figure, place in (("ECE", 0), ("Brier score", 1)):
        values = np.array(after)[:, place]
        target = ECE_TARGET if place == 0 else None
        value = float(values.mean())
        peers = {"uncalibrated": float(np.array(before)[:, place].mean())} | (
            {"base rate alone": base} if place else {}
        )
        span = (float(values.min()), float(values.max()))
        met = None if target is None else value <= target
        rows.append(Row(f"{name}, {figure} after {LABELS} labels", value, figure, span, peers, target=target, met=met))
    return rows
