"""Two models: who gets the calls. A router's score is the gain in quality that it predicts for the strong model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Row
from ruvllm.bench.routers.accuracy import QUALITY_FLOOR
from ruvllm.bench.routers.comparison import compare, show
from ruvllm.bench.routers.evaluation import Judged
from ruvllm.bench.routers.systems import PROMPT_ONLY, RANDOM
from ruvllm.bench.routers.table import Floats, Table
from ruvllm.router import measures
from ruvllm.router.measures import Measure

__all__ = ["Pair", "choose_pair", "fixed_apgr_over", "rows", "threshold_routes"]

Floats64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Columns of the two models."""

    weak: int
    strong: int


def choose_pair(table: Table, weak: str | None, strong: str | None) -> Pair:
    """Return the named models; else the cheapest and the best, or of two the worse and the better by mean quality.

    Raises:
        ValueError: a named model is not in the table, or the strong one is not better than the weak one.
    """
    names, mean = table.names, table.outcomes.quality.mean(axis=0)
    for name in (weak, strong):
        if name is not None and name not in names:
            raise ValueError(f"no model {name!r}; the models are {', '.join(names)}")
    best = int(np.argmax(mean)) if strong is None else names.index(strong)
    cheapest = 0 if len(names) > 2 and best != 0 else int(np.argmin(mean))
    cheap = cheapest if weak is None else names.index(weak)
    if not mean[cheap] < mean[best]:
        raise ValueError(
            f"the strong model must be better: {names[best]!r} {mean[best]:.3f}, {names[cheap]!r} {mean[cheap]:.3f}"
        )
    return Pair(cheap, best)


def rows(judged: Judged, pair: Pair) -> list[Row]:
    """Return RouteLLM's figures and those that show what stands behind them."""
    table, folds, keys = judged.table, judged.folds, judged.table.keys
    weak, strong = (table.outcomes.quality[:, t].astype(np.float64) for t in (pair.weak, pair.strong))
    scores = {name: _gain(quality, pair) for name, quality in judged.quality.items()}

    def over(measure: Callable[..., Measure], *args: Any) -> dict[str, Measure]:
        return {name: measure(score, *args, folds=folds) for name, score in scores.items()}

    result = [
        Row(f"quality of {table.names[pair.weak]}, weak", float(weak.mean()), ""),
        Row(f"quality of {table.names[pair.strong]}, strong", float(strong.mean()), ""),
        *compare("APGR, thresholds from test quantiles", over(measures.apgr_over, weak, strong), keys, ""),
    ]
    fixed = {name: threshold_routes(judged, name, pair) for name in scores if name != RANDOM}  # which has no scores
    by_thresholds = {name: fixed_apgr_over(routes, weak, strong) for name, routes in fixed.items()}
    result += compare("APGR, thresholds fixed on train", by_thresholds, keys, "")
    off = {name: 100.0 * float(np.abs(routes.mean(axis=0) - measures.SHARES).max()) for name, routes in fixed.items()}
    result.append(show("largest miss of the share of strong calls, thresholds fixed on train", off, "% strong"))
    if table.has_topics:
        topics = np.array(table.topics)
        result += compare("within-topic APGR", over(measures.within_topic_apgr_over, weak, strong, topics), keys, "")
    for level in (0.5, 0.8):
        shares = over(measures.cpt_over, weak, strong, level)
        result += compare(f"CPT{100 * level:.0f}", shares, keys, "% strong", scale=100.0, less_is_better=True)
    areas = {name: 100.0 * measures.quality_area(s, weak, strong, folds=folds) for name, s in scores.items()}
    result.append(show("AUC, mean quality over all shares", areas, "points"))
    return result + _needed(judged, pair, weak, strong)


def threshold_routes(judged: Judged, system: str, pair: Pair) -> npt.NDArray[np.bool_]:
    """Return (n, shares) whether the strong model is called, by thresholds on scores of rows not judged with them.

    The threshold of a share is the quantile of scores predicted, out of fold as well, for rows that were learnt from.
    """
    score = _gain(judged.quality[system], pair)
    routes = np.empty((len(score), len(measures.SHARES)), np.bool_)
    for fold in np.unique(judged.folds):
        own = judged.folds == fold
        known = score[~own] if judged.taught is None else _gain(judged.taught.quality[system], pair)
        routes[own] = score[own, None] > np.quantile(known, 1.0 - measures.SHARES)
    routes[:, 0], routes[:, -1] = False, True
    return routes


def fixed_apgr_over(routes: npt.NDArray[np.bool_], weak: Floats64, strong: Floats64) -> Measure:
    """Return the area under recovered gap over the share of strong calls that the routes really make."""
    called, gained = routes.astype(np.float64), routes * (strong - weak)[:, None]

    def measure(copies: Floats64) -> Floats64:
        gap = copies @ (strong - weak)
        shares = copies @ called / copies.sum(axis=1, keepdims=True)
        return np.asarray(np.trapezoid(copies @ gained / gap[:, None], shares, axis=1))

    return measure


def _needed(judged: Judged, pair: Pair, weak: Floats64, strong: Floats64) -> list[Row]:
    """Return how well it is told where the weak model does not do; where models were probed, what the probe adds."""
    keys, folds = judged.table.keys, judged.folds
    gains = {name: _gain(quality, pair) for name, quality in judged.quality.items()}
    doubts = {name: -quality[:, pair.weak].astype(np.float64) for name, quality in judged.quality.items()}
    result = []
    for what, label, scores in (
        ("the strong model is needed", strong > weak, gains),
        (f"the weak model misses {QUALITY_FLOOR}", weak < QUALITY_FLOOR, doubts),
    ):
        if label.all() or not label.any():
            continue
        over = {name: measures.roc_auc_over(score, label, folds=folds) for name, score in scores.items()}
        result += compare(f"ROC-AUC, {what}", over, keys, "")
        if PROMPT_ONLY in over:
            result += compare(f"ROC-AUC, {what}", over, keys, "", against=PROMPT_ONLY)[1:]
    return result


def _gain(quality: Floats, pair: Pair) -> Floats64:
    return quality[:, pair.strong].astype(np.float64) - quality[:, pair.weak]
