"""How often a router takes the cheapest model that does: the first by cost that reaches the quality floor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Row
from ruvllm.bench.routers.ceiling import CEILINGS
from ruvllm.bench.routers.comparison import compare
from ruvllm.bench.routers.evaluation import Judged
from ruvllm.bench.routers.systems import ORACLE
from ruvllm.bench.routers.table import Floats, Ints
from ruvllm.router.measures import Measure

__all__ = ["QUALITY_FLOOR", "first_that_does", "rows"]

QUALITY_FLOOR = 0.8
SHARE_OF_CEILING = 95.0  # per cent, of the best that any learner makes of the features
LEVELS = np.linspace(0.0, 1.0, 101)


def rows(judged: Judged) -> list[Row]:
    """Return the share of questions that go to the cheapest model that does, among those where some model does."""
    quality = judged.table.outcomes.quality
    possible = np.asarray((quality >= QUALITY_FLOOR).any(axis=1), np.bool_)
    share = Row(f"questions on which some model reaches {QUALITY_FLOOR}", 100.0 * float(possible.mean()), "%")
    if not possible.any():
        return [share]
    wanted = first_that_does(quality)
    right = {name: _share_over(_routes(judged, name), wanted, possible) for name in judged.quality}
    right.pop(ORACLE, None)
    what = f"router accuracy, the cheapest model that reaches {QUALITY_FLOOR}"
    result = [share, *compare(what, right, judged.table.keys, "%", scale=100.0)]
    if CEILINGS.keys() & judged.quality.keys():
        best, highest = max(result[1].peers.items(), key=lambda peer: peer[1])
        part = 100.0 * result[1].value / highest
        met, name = part > SHARE_OF_CEILING, f"{what}, share of the best"
        result.append(Row(name, part, "%", None, {best: highest}, target=SHARE_OF_CEILING, met=met))
    return result


def first_that_does(quality: Floats, level: float = QUALITY_FLOOR) -> Ints:
    """Return (n,) the first model whose quality is at least `level`, the best one where none is."""
    does = quality >= level
    return np.asarray(np.where(does.any(axis=1), does.argmax(axis=1), quality.argmax(axis=1)), np.int64)


def _routes(judged: Judged, system: str) -> Ints:
    """Return (n,) the first model predicted to reach a level, which is fixed on rows not judged with it."""
    routes = np.empty(len(judged.folds), np.int64)
    for fold in np.unique(judged.folds):
        own = judged.folds == fold
        known = judged.taught or judged
        others = ~own if judged.taught is None else np.ones(len(known.folds), np.bool_)
        quality = known.table.outcomes.quality
        others &= (quality >= QUALITY_FLOOR).any(axis=1)
        wanted, predicted = first_that_does(quality[others]), known.quality[system][others]
        right = [np.count_nonzero(first_that_does(predicted, level) == wanted) for level in LEVELS]
        routes[own] = first_that_does(judged.quality[system][own], float(LEVELS[int(np.argmax(right))]))
    return routes


def _share_over(routes: Ints, wanted: Ints, among: npt.NDArray[np.bool_]) -> Measure:
    counted = among.astype(np.float64)
    right = counted * (routes == wanted)
    return lambda copies: np.asarray(copies @ right / (copies @ counted))
