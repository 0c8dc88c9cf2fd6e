"""What two arms of a trial show about quality, failures and latency: the figures, and what they prove at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.tuning.rollout import sequences
from ruvllm.tuning.rollout.levels import Levels
from ruvllm.tuning.rollout.power import detectable_loss

__all__ = [
    "Arm",
    "Evidence",
    "TrialRow",
    "failures",
    "latency",
    "paired_failures",
    "paired_quality",
    "quality",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95}


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One request as one model answered it; one that failed has quality 0 and no latency, whatever is said here."""

    quality: float | None  # in [0, 1]; None: nobody judged it
    latency_ms: float
    failed: bool = False
    session: str = ""  # requests of one session are not independent; "": a request by itself


@dataclass(frozen=True, slots=True)
class Evidence:
    """One metric of both arms, and their difference (of latency: ratio) with bounds that hold at all times, each with
    1 - alpha / 2."""

    metric: str
    control: float
    treatment: float
    difference: float
    low: float
    high: float
    requests: int  # that it rests on, of the treatment
    is_worse: bool
    is_not_worse: bool
    detectable: float = nan  # of quality: the loss found by now in 80 % of trials; nan while there is too little


class Arm:
    """The rows of one model as columns.

    Raises:
        ValueError: a quality is not in [0, 1], or a latency not finite and >= 0.
    """

    def __init__(self, rows: Sequence[TrialRow]) -> None:
        self.failed = np.array([row.failed for row in rows], np.bool_)
        given = np.array([row.quality for row in rows if row.quality is not None], np.float64)
        if not ((given >= 0.0) & (given <= 1.0)).all():
            raise ValueError("quality must be in [0, 1], or None")
        known = np.array([nan if row.quality is None else row.quality for row in rows], np.float64)
        self.quality: Floats = np.where(self.failed, 0.0, known)
        self.latency_ms = np.array([row.latency_ms for row in rows], np.float64)
        self.session = _numbered([row.session for row in rows])
        answered = self.latency_ms[~self.failed]
        if not (np.isfinite(answered) & (answered >= 0.0)).all():
            raise ValueError("latency_ms must be finite and >= 0")
        self.latencies: list[float] = np.sort(answered).tolist()

    def __len__(self) -> int:
        return len(self.failed)

    @property
    def failures(self) -> tuple[int, int]:
        """How many failed, of how many."""
        return int(self.failed.sum()), len(self.failed)

    def judged(self) -> tuple[Floats, Ints]:
        """Return the qualities that are known and their sessions."""
        known = ~np.isnan(self.quality)
        return self.quality[known], self.session[known]


def paired_quality(control: Arm, treatment: Arm, margin: float, levels: Levels) -> Evidence:
    """Return what requests that both arms answered, in order, say about quality; those that both have."""
    difference = treatment.quality - control.quality
    known = ~np.isnan(difference)
    values, sessions = difference[known], control.session[known]
    early = values[_firsts(sessions)]
    variance = sequences.variance_of_mean(values, sessions) if len(values) else nan
    means = (_mean(control.quality[known]), _mean(treatment.quality[known]))
    is_large = _is_large(values, sessions)
    return _mean_evidence(early, means, len(values), variance, is_large, len(values), margin, levels)


def quality(control: Arm, treatment: Arm, margin: float, levels: Levels) -> Evidence:
    """Return what requests of which each went to one arm say about quality.

    Early on, the first request of the k-th session of one arm is held against that of the other.
    """
    (x, of_x), (y, of_y) = treatment.judged(), control.judged()
    first_x, first_y = x[_firsts(of_x)], y[_firsts(of_y)]
    met = min(len(first_x), len(first_y))
    early = first_x[:met] - first_y[:met]
    variance = nan
    if len(x) and len(y):
        variance = sequences.variance_of_mean(x, of_x) + sequences.variance_of_mean(y, of_y)
    is_large = _is_large(x, of_x) and _is_large(y, of_y)
    return _mean_evidence(early, (_mean(y), _mean(x)), len(x) + len(y), variance, is_large, len(x), margin, levels)


def _mean_evidence(
    early: Floats,
    means: tuple[float, float],
    n: int,
    variance: float,
    is_large: bool,
    requests: int,
    margin: float,
    levels: Levels,
) -> Evidence:
    gain = means[1] - means[0]
    worse, promote = levels.worse("quality"), levels.promote
    is_worse = sequences.proven_above(-early, 0.0, worse)
    is_not_worse = sequences.proven_above(early, -margin, promote)
    if is_large:
        is_worse |= sequences.is_above(-gain, n, variance, 0.0, worse)
        is_not_worse |= sequences.is_above(gain, n, variance, -margin, promote)
        width = float(sequences.half_width(n, variance, promote))
        low, high = gain - width, gain + width
    else:
        low, high = sequences.mean_bounds(early, promote)
    detectable = detectable_loss(n, variance, worse) if is_large else nan
    return Evidence("quality", *means, gain, low, high, requests, is_worse, is_not_worse, detectable)


def paired_failures(control: Arm, treatment: Arm, margin: float, levels: Levels) -> Evidence:
    """Return what requests that both arms answered say about the share that failed: those in which one of them did."""
    more = int((treatment.failed & ~control.failed).sum())
    fewer = int((control.failed & ~treatment.failed).sum())
    is_worse = sequences.rate_above(more, more + fewer, 0.5, levels.worse("failure_rate"))
    rates = (_mean(control.failed), _mean(treatment.failed))
    return _rate_evidence(rates, (fewer, len(control)), (more, len(treatment)), is_worse, margin, levels)


def failures(control: tuple[int, int], treatment: tuple[int, int], margin: float, levels: Levels) -> Evidence:
    """Return the same of arms with requests of their own, of which (failed, n) are known."""
    level = levels.worse("failure_rate") / 2.0
    is_worse = sequences.rate_bounds(*treatment, level)[0] > sequences.rate_bounds(*control, level)[1]
    rates = tuple(failed / n if n else nan for failed, n in (control, treatment))
    return _rate_evidence((rates[0], rates[1]), control, treatment, is_worse, margin, levels)


def _rate_evidence(
    rates: tuple[float, float],
    control: tuple[int, int],
    treatment: tuple[int, int],
    is_worse: bool,
    margin: float,
    levels: Levels,
) -> Evidence:
    low, high = sequences.rate_bounds(*treatment, levels.promote / 2.0)
    low_control, high_control = sequences.rate_bounds(*control, levels.promote / 2.0)
    low, high = low - high_control, high - low_control
    gain = rates[1] - rates[0]
    return Evidence("failure_rate", *rates, gain, low, high, treatment[1], is_worse, high < margin)


def latency(control: Arm, treatment: Arm, ratio: float, levels: Levels) -> tuple[Evidence, ...]:
    """Return what both arms say about the median and the 95th percentile of the latency of answers."""
    x, y = treatment.latencies, control.latencies
    return tuple(_quantile_evidence(metric, p, x, y, ratio, levels) for metric, p in QUANTILES.items())


def _quantile_evidence(
    metric: str, p: float, x: Sequence[float], y: Sequence[float], ratio: float, levels: Levels
) -> Evidence:
    of_x, of_y = (float(np.quantile(one, p)) if len(one) else nan for one in (x, y))
    low_x, high_x = sequences.quantile_bounds(x, p, levels.promote / 2.0)
    low_y, high_y = sequences.quantile_bounds(y, p, levels.promote / 2.0)
    surely_x, _ = sequences.quantile_bounds(x, p, levels.worse(metric) / 2.0)
    _, surely_y = sequences.quantile_bounds(y, p, levels.worse(metric) / 2.0)
    return Evidence(
        metric,
        control=of_y,
        treatment=of_x,
        difference=of_x / of_y if of_y > 0.0 else nan,
        low=low_x / high_y if 0.0 < high_y < inf else 0.0,
        high=high_x / low_y if low_y > 0.0 else inf,
        requests=len(x),
        is_worse=surely_x > ratio * surely_y,
        is_not_worse=high_x < ratio * low_y,
    )


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else nan


def _numbered(sessions: Sequence[str]) -> Ints:
    """Return a number for each session, in order of appearance; "" is a session of its own."""
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(name or i, len(known)) for i, name in enumerate(sessions)], np.int64)


def _firsts(sessions: Ints) -> Ints:
    """Return where sessions begin."""
    return np.sort(np.unique(sessions, return_index=True)[1])


def _is_large(values: Floats, sessions: Ints) -> bool:
    return len(values) > sequences.BETTING and len(np.unique(sessions)) >= sequences.MIN_SESSIONS
