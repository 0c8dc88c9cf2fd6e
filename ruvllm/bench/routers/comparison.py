"""A figure of ruvllm beside all others, and whether it beats the best floor: two rows a figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ruvllm.bench.report import Row
from ruvllm.bench.routers.ceiling import CEILINGS
from ruvllm.bench.routers.systems import ORACLE, OURS
from ruvllm.router.measures import Interval, Measure, paired_difference

__all__ = ["compare", "interval_of", "show"]

RESAMPLES = 1000


def show(name: str, values: Mapping[str, float], unit: str, *, interval: tuple[float, float] | None = None) -> Row:
    """Return a row of our value with all others as peers."""
    return Row(name, values[OURS], unit, interval, {other: v for other, v in values.items() if other != OURS})


def compare(
    name: str,
    measures: Mapping[str, Measure],
    keys: tuple[str, ...],
    unit: str,
    *,
    scale: float = 1.0,
    less_is_better: bool = False,
    against: str | None = None,
) -> list[Row]:
    """Return the row of a figure and that of the gain over the best floor, positive where ours is better.

    Both intervals are of 95 % over drawn questions, the gain's is paired; the floor is beaten where it lies above 0.

    Args:
        measures: by system.
        keys: (n,) rows with the same key ask the same question, and are drawn together.
        scale: what every value is multiplied with.
        less_is_better: as for a share of calls.
        against: the system to beat; the best of all but the oracle and the ceilings when None.
    """
    ones = np.ones((1, len(keys)))
    values = {system: scale * float(measure(ones)[0]) for system, measure in measures.items()}
    floors = {system: value for system, value in values.items() if system not in (OURS, ORACLE, *CEILINGS)}
    best = against or (min if less_is_better else max)(floors, key=lambda system: floors[system])
    own = interval_of(measures[OURS], None, keys)
    first, second = (best, OURS) if less_is_better else (OURS, best)
    gain = interval_of(measures[first], measures[second], keys)
    low, high = scale * gain.low, scale * gain.high
    return [
        show(name, values, unit, interval=(scale * own.low, scale * own.high)),
        Row(f"{name}, gain over {best}", scale * gain.value, unit, (low, high), target=0.0, met=low > 0.0),
    ]


def interval_of(a: Measure, b: Measure | None, keys: tuple[str, ...]) -> Interval:
    """Return a - b, or a alone, with its interval over drawn questions."""
    return paired_difference(a, b, len(keys), clusters=np.array(keys), resamples=RESAMPLES)
