"""Every system learns and predicts on the same splits."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.bench.routers.floors import Fit, Router
from ruvllm.bench.routers.splits import Split
from ruvllm.bench.routers.table import Floats, Ints, Table
from ruvllm.bench.timing import seconds_per_call

__all__ = ["Judged", "judge"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What was predicted for n questions that the predicting router had not seen.

    Attributes:
        table: the questions with their outcomes.
        folds: (n,) rows with the same number were predicted by the same router.
        quality: by system, (n, T) predicted quality.
        price: (n, T) mean cost of each model on the rows that were learnt from.
        fit_s: by system, seconds to learn, the mean over the splits.
        decide_s: by system, median seconds to predict for one question whose embedding is known.
        num_taught: rows learnt from, the mean over the splits.
        taught: the same of the rows that were learnt from, by folds of their own; None where these are the other folds.
    """

    table: Table
    folds: Ints
    quality: Mapping[str, Floats]
    price: npt.NDArray[np.float64]
    fit_s: Mapping[str, float]
    decide_s: Mapping[str, float]
    num_taught: float
    taught: Judged | None = None


def judge(
    table: Table,
    splits: Sequence[Split],
    fits: Mapping[str, Fit],
    *,
    seed: int,
    what: str = "",
    on_progress: Progress,
) -> Judged:
    """Return what each system predicts for the test rows of every split after learning from its train rows.

    Args:
        what: put before each system's name as its progress is shown.
    """
    judged = table.take(np.concatenate([split.test for split in splits]))
    sizes = [len(split.test) for split in splits]
    quality, fit_s, decide_s = {}, {}, {}
    for name, fit in fits.items():
        parts, seconds = [], []
        for number, split in enumerate(splits):
            on_progress(what + name, number, len(splits))
            started = time.perf_counter()
            router = fit(table.take(split.train), seed)
            seconds.append(time.perf_counter() - started)
            parts.append(router.predict(table.take(split.test)))
        on_progress(what + name, len(splits), len(splits))
        quality[name] = np.concatenate(parts)
        fit_s[name] = float(np.mean(seconds))
        decide_s[name] = _decision_s(router, judged.take([0]))
    prices = np.array([_mean_cost(table.take(split.train)) for split in splits])
    return Judged(
        table=judged,
        folds=np.repeat(np.arange(len(splits)), sizes),
        quality=quality,
        price=np.repeat(prices, sizes, axis=0),
        fit_s=fit_s,
        decide_s=decide_s,
        num_taught=float(np.mean([len(split.train) for split in splits])),
    )


def _decision_s(router: Router, question: Table) -> float:
    threadpoolctl = importlib.import_module("threadpoolctl")  # which scikit-learn brings along
    with threadpoolctl.threadpool_limits(1):  # one question is too little to share among threads
        return seconds_per_call({"": lambda: router.predict(question)}, rounds=3, seconds=0.05)[""]


def _mean_cost(train: Table) -> npt.NDArray[np.float64]:
    """Return (T,) mean cost where it is known, 0 where the table has no costs."""
    if train.cost_unit is None:
        return np.zeros(len(train.names))
    known = ~np.isnan(train.outcomes.cost)
    mean = np.where(known, train.outcomes.cost, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), mean, [tier.cost for tier in train.outcomes.tiers])
