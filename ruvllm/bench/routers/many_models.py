"""Any number of models with costs: quality for money. A router takes argmax_t quality_t - lambda price_t."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Row
from ruvllm.bench.routers.comparison import compare, interval_of, show
from ruvllm.bench.routers.evaluation import Judged
from ruvllm.bench.routers.systems import ORACLE, OURS, RANDOM
from ruvllm.router import measures
from ruvllm.router.measures import Measure

__all__ = ["MARGIN", "non_inferior", "rows"]

MARGIN = 0.02  # of quality, that a router may lose to the best single model
TRADE_OFFS = 101

Floats64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def rows(judged: Judged) -> list[Row]:
    """Return AIQ, and the cost of nearly the best single model's quality."""
    table = judged.table
    quality, cost = table.outcomes.quality.astype(np.float64), _costs(judged)
    over = {
        _label(name): measures.aiq_over(estimate.astype(np.float64), judged.price, quality, cost, folds=judged.folds)
        for name, estimate in judged.quality.items()
    }
    best = int(np.argmax(quality.mean(axis=0)))
    unit, scale = ("USD per 1,000 questions", 1e3) if table.cost_unit == "USD" else (str(table.cost_unit), 1.0)
    singles = [
        Row(f"cost of {name}", scale * float(cost[:, t].mean()), unit, peers={"quality": float(quality[:, t].mean())})
        for t, name in enumerate(table.names)
    ]
    return [*singles, *compare("AIQ", over, table.keys, ""), *_saving(judged, quality, cost, best)]


def non_inferior(judged: Judged, system: str) -> Ints:
    """Return (n,) routes by the boldest trade-off that lost no more than the margin on rows not judged with it.

    Trade-offs are tried on rows that were learnt from, with predictions out of fold; the cheapest wins whose mean
    quality is within the margin of the best single model's there.
    """
    routes = np.empty(len(judged.folds), np.int64)
    for fold in np.unique(judged.folds):
        own = judged.folds == fold
        known = judged.taught or judged
        rows = ~own if judged.taught is None else slice(None)
        estimate, price = known.quality[system][rows].astype(np.float64), known.price[rows]
        quality, cost = known.table.outcomes.quality[rows].astype(np.float64), _costs(known)[rows]
        wanted = quality.mean(axis=0).max() - MARGIN
        best, least = 0.0, np.inf
        for trade_off in _trade_offs(estimate, price):
            tier = _route(estimate, price, trade_off)[:, None]
            spent = float(np.take_along_axis(cost, tier, 1).mean())
            if np.take_along_axis(quality, tier, 1).mean() >= wanted and spent < least:
                best, least = trade_off, spent
        routes[own] = _route(judged.quality[system][own], judged.price[own], best)
    return routes


def _saving(judged: Judged, quality: Floats64, cost: Floats64, best: int) -> list[Row]:
    """Return what quality within the margin costs, trade-offs fixed on train, and the quality that came of them."""
    keys = judged.table.keys
    spent: dict[str, Measure] = {}
    earned: dict[str, Measure] = {}
    for name in judged.quality:
        if name == ORACLE:  # its predictions need no trade-off
            continue
        tier = non_inferior(judged, name)[:, None]
        label = _label(name)
        spent[label] = _ratio_over(np.take_along_axis(cost, tier, 1)[:, 0], cost[:, best])
        earned[label] = _mean_over(np.take_along_axis(quality, tier, 1)[:, 0] - quality[:, best])
    what = f"within {100 * MARGIN:.0f} points of the best single model, trade-off fixed on train"
    lost = {name: 100.0 * float(measure(np.ones((1, len(keys))))[0]) for name, measure in earned.items()}
    interval = interval_of(earned[OURS], None, keys)
    return [
        *compare(f"cost {what}", spent, keys, "% of its", scale=100.0, less_is_better=True),
        show(f"quality {what}", lost, "points", interval=(100.0 * interval.low, 100.0 * interval.high)),
    ]


def _trade_offs(estimate: Floats64, price: Floats64) -> Floats64:
    """Return trade-offs from none to always the cheapest, between those at which some row changes its model."""
    gain = estimate[:, :, None] - estimate[:, None, :]
    extra = price[:, :, None] - price[:, None, :]
    turning = gain[extra > 0.0] / extra[extra > 0.0]
    turning = turning[turning > 0.0]
    if not len(turning):
        return np.zeros(1)
    knots = np.unique(np.quantile(turning, np.linspace(0.0, 1.0, TRADE_OFFS)))
    return np.concatenate([[0.0], (knots[1:] + knots[:-1]) / 2.0, knots[-1:] * 2.0])


def _route(estimate: npt.NDArray[np.floating], price: Floats64, trade_off: float) -> Ints:
    """Return (n,) the model of each row; models are in order of cost, so that the cheaper of equals comes first."""
    return np.asarray(np.argmax(estimate - trade_off * price, axis=1), np.int64)


def _costs(judged: Judged) -> Floats64:
    """Return (n, T) costs, the mean of the train rows where a row's own is not known."""
    cost = judged.table.outcomes.cost
    return np.where(np.isnan(cost), judged.price, cost).astype(np.float64)


def _label(system: str) -> str:
    """Return a system's name; to draw at random among single models is what is done without a router."""
    return "no router" if system == RANDOM else system


def _mean_over(values: Floats64) -> Measure:
    return lambda copies: np.asarray(copies @ values / copies.sum(axis=1))


def _ratio_over(a: Floats64, b: Floats64) -> Measure:
    return lambda copies: np.asarray(copies @ a / (copies @ b))
