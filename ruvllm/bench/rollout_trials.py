"""Trials of a student that are drawn, not served, and looked at after every request: what `evaluate_shadow` and
`evaluate_canary` would have said first, and when."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from ruvllm.config import RolloutConfig
from ruvllm.router.confidence_sequence import betting_above
from ruvllm.tuning.rollout import Action, TrialPair, TrialRow, sequences
from ruvllm.tuning.rollout.evidence import QUANTILES
from ruvllm.tuning.rollout.levels import Levels

__all__ = ["Student", "Trial", "draw", "first_decision", "quality_proofs"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

CONTROL, STUDENT = 0, 1
MEAN_QUALITY, COMMON_SD = 0.5, 0.05
LATENCY_MS, LATENCY_SPREAD = 400.0, 0.5  # median, standard deviation of the logarithm


@dataclass(frozen=True, slots=True)
class Student:
    """How a student differs from the model in service, which has a quality of 0.5 on average.

    `quality_sd` is that of the difference on one request. "graded": qualities between 0 and 1 with much in common;
    "right or wrong": both are right or both wrong, but for few requests.
    """

    loss: float = 0.0
    quality_sd: float = 0.25
    kind: Literal["graded", "right or wrong"] = "graded"
    failure_rates: tuple[float, float] = (0.0, 0.0)  # of the model, of the student
    latency_ratio: float = 1.0
    session_requests: int = 1
    session_sd: float = 0.0  # of what the requests of a session have in common


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Requests in the order in which they came, a column for each model.

    `is_student` says who answered; None where both did.
    """

    quality: Floats  # (n, 2)
    latency_ms: Floats  # (n, 2)
    failed: Flags  # (n, 2)
    session: Ints  # (n,)
    is_student: Flags | None = None

    def pairs(self) -> list[TrialPair]:
        """Return the rows as the decision reads them where both models answered."""
        return [TrialPair(self._row(i, CONTROL), self._row(i, STUDENT)) for i in range(len(self.session))]

    def rows(self, arm: int) -> list[TrialRow]:
        """Return those of one model where each request went to one."""
        return [self._row(int(i), arm) for i in np.flatnonzero(self.is_student == bool(arm))]

    def _row(self, i: int, arm: int) -> TrialRow:
        quality, latency_ms = float(self.quality[i, arm]), float(self.latency_ms[i, arm])
        return TrialRow(quality, latency_ms, bool(self.failed[i, arm]), f"s{self.session[i]}")


def draw(student: Student, n: int, rng: np.random.Generator, *, share: float | None = None) -> Trial:
    """Return `n` requests; `share` is that of the sessions which the student answers, None where both answer all."""
    session = np.arange(n) // student.session_requests
    if student.kind == "graded":
        common = rng.normal(MEAN_QUALITY, COMMON_SD, n) + rng.normal(0.0, student.session_sd, n)[session]
        apart = rng.normal(0.0, student.quality_sd / np.sqrt(2.0), (n, 2))
        quality = np.clip(common[:, None] + apart - np.array([0.0, student.loss]), 0.0, 1.0)
    else:
        quality = _right_or_wrong(student, n, rng)
    latency_ms = LATENCY_MS * np.exp(rng.normal(0.0, LATENCY_SPREAD, (n, 2))) * np.array([1.0, student.latency_ratio])
    failed = rng.random((n, 2)) < np.array(student.failure_rates)
    sides = None if share is None else (rng.random(n) < share)[session]
    return Trial(np.where(failed, 0.0, quality), latency_ms, failed, session, sides)


def _right_or_wrong(student: Student, n: int, rng: np.random.Generator) -> Floats:
    """Return 0s and 1s: either is wrong alone in a share of them; both shares give the variance and the loss."""
    apart = student.quality_sd**2 + student.loss**2
    lost, gained = (apart + student.loss) / 2.0, (apart - student.loss) / 2.0
    u = rng.random(n)
    right = u < MEAN_QUALITY - lost
    control = right | (u >= 1.0 - lost)
    treatment = right | ((u >= 1.0 - lost - gained) & (u < 1.0 - lost))
    return np.stack([control, treatment], axis=1).astype(np.float64)


def first_decision(trial: Trial, config: RolloutConfig) -> tuple[Action, int]:
    """Return what is said first other than Continue, and after how many requests of the student; else Continue, all."""
    levels = Levels(config.alpha)
    paired = trial.is_student is None
    enough = config.shadow_requests if paired else config.canary_requests
    is_worse, is_not_worse = quality_proofs(trial, config)
    arms = _Arms(config, levels, len(trial.session), paired=paired)
    for i in range(len(trial.session)):
        arms.add(trial, i)
        if is_worse[i] or arms.worse():
            return Action.KEEP_CONTROL, arms.requests
        if is_not_worse[i] and arms.requests >= enough and arms.not_worse():
            return Action.PROMOTE, arms.requests
    return Action.CONTINUE, arms.requests


def quality_proofs(trial: Trial, config: RolloutConfig) -> tuple[Flags, Flags]:
    """Return after each request whether the student's quality is proven worse, and not worse, (n,) each."""
    levels = Levels(config.alpha)
    if trial.is_student is None:
        return _paired_quality(trial, config.quality_margin, levels)
    return _quality(trial, config.canary_margin, levels)


class _Arms:
    """Failures and latencies so far."""

    def __init__(self, config: RolloutConfig, levels: Levels, requests: int, *, paired: bool) -> None:
        self._config, self._levels, self._paired = config, levels, paired
        self._latencies: tuple[list[float], list[float]] = ([], [])
        self._n = [0, 0]
        self._failed = [0, 0]  # in pairs: alone
        self._ranks = [_ranks(requests, p, levels.worse(metric) / 2.0) for metric, p in QUANTILES.items()]

    @property
    def requests(self) -> int:
        return self._n[STUDENT]

    def add(self, trial: Trial, i: int) -> None:
        sides = (CONTROL, STUDENT) if trial.is_student is None else (int(trial.is_student[i]),)
        alone = len(sides) == 1 or trial.failed[i, CONTROL] != trial.failed[i, STUDENT]
        for side in sides:
            self._n[side] += 1
            if trial.failed[i, side]:
                self._failed[side] += int(alone)
            else:
                insort(self._latencies[side], trial.latency_ms[i, side])

    def worse(self) -> bool:
        (fewer, more), (m, n) = self._failed, self._n
        level = self._levels.worse("failure_rate")
        if self._paired and sequences.rate_above(more, more + fewer, 0.5, level):
            return True
        if not self._paired and (
            sequences.rate_bounds(more, n, level / 2.0)[0] > sequences.rate_bounds(fewer, m, level / 2.0)[1]
        ):
            return True
        y, x = self._latencies
        for lows, highs in self._ranks:
            low, high = lows[len(x)], highs[len(y)]
            if low >= 1 and high <= len(y) and x[low - 1] > self._config.latency_ratio * y[high - 1]:
                return True
        return False

    def not_worse(self) -> bool:
        level = self._levels.promote / 2.0
        (fewer, more), (m, n) = self._failed, self._n
        high = sequences.rate_bounds(more, n, level)[1] - sequences.rate_bounds(fewer, m, level)[0]
        y, x = self._latencies
        return high < self._config.failure_margin and all(
            sequences.quantile_bounds(x, p, level)[1]
            < self._config.latency_ratio * sequences.quantile_bounds(y, p, level)[0]
            for p in QUANTILES.values()
        )


@lru_cache
def _ranks(requests: int, p: float, level: float) -> tuple[list[int], list[int]]:
    """Return `sequences.quantile_ranks` of 0 to `requests` values, the lower ones and the upper ones."""
    lows, highs = zip(*(sequences.quantile_ranks(n, p, level) for n in range(requests + 1)), strict=True)
    return list(lows), list(highs)


class _Prefixes:
    """Mean and variance of the mean of every beginning of a stream of values."""

    def __init__(self, values: Floats, sessions: Ints) -> None:
        k = np.arange(1, len(values) + 1)
        before, count = _before(values, sessions), _before(np.ones(len(values)), sessions)
        self.starts = count == 0.0
        self.sessions = np.cumsum(self.starts)
        self.mean = np.cumsum(values) / k
        squares = np.cumsum((before + values) ** 2 - before**2)  # of the sums of sessions
        products = np.cumsum((before + values) * (count + 1.0) - before * count)
        counts = np.cumsum(2.0 * count + 1.0)
        spread = squares - 2.0 * self.mean * products + self.mean**2 * counts
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = spread / k**2 * self.sessions / (self.sessions - 1.0)
        self.variance = np.where(self.sessions > 1, np.maximum(variance, 0.0), np.inf)
        self.is_large = (k > sequences.BETTING) & (self.sessions >= sequences.MIN_SESSIONS)


def _before(values: Floats, sessions: Ints) -> Floats:
    """Return for each value the sum of the earlier ones of its session."""
    order = np.argsort(sessions, kind="stable")
    sums = np.cumsum(values[order]) - values[order]
    starts = np.flatnonzero(np.diff(sessions[order], prepend=-1) != 0)
    sums -= np.repeat(sums[starts], np.diff(np.append(starts, len(sums))))
    found = np.empty(len(values))
    found[order] = sums
    return found


def _paired_quality(trial: Trial, margin: float, levels: Levels) -> tuple[Flags, Flags]:
    values = trial.quality[:, STUDENT] - trial.quality[:, CONTROL]
    stream = _Prefixes(values, trial.session)
    met = np.cumsum(stream.starts)
    n = np.arange(1, len(values) + 1)
    return _flags(values[stream.starts], met, stream.mean, n, stream.variance, stream.is_large, margin, levels)


def _quality(trial: Trial, margin: float, levels: Levels) -> tuple[Flags, Flags]:
    assert trial.is_student is not None
    of_student = trial.is_student
    streams, firsts = [], []
    for side, here in ((CONTROL, ~of_student), (STUDENT, of_student)):
        values = trial.quality[here, side]
        streams.append(_Prefixes(values, trial.session[here]))
        firsts.append(values[streams[-1].starts])
    seen = [np.cumsum(~of_student), np.cumsum(of_student)]
    both = (seen[0] > 0) & (seen[1] > 0)
    at = [np.maximum(count, 1) - 1 for count in seen]
    y, x = streams
    met = np.where(both, np.minimum(y.sessions[at[0]], x.sessions[at[1]]), 0)
    paired = min(map(len, firsts))
    gain = np.where(both, x.mean[at[1]] - y.mean[at[0]], 0.0)
    variance = x.variance[at[1]] + y.variance[at[0]]
    is_large = both & x.is_large[at[1]] & y.is_large[at[0]]
    early = firsts[1][:paired] - firsts[0][:paired]
    return _flags(early, met, gain, np.arange(1, len(gain) + 1), variance, is_large, margin, levels)


def _flags(
    early: Floats, met: Ints, gain: Floats, n: Ints, variance: Floats, is_large: Flags, margin: float, levels: Levels
) -> tuple[Flags, Flags]:
    found: list[Flags] = []
    for sign, threshold, level in ((-1.0, 0.0, levels.worse("quality")), (1.0, -margin, levels.promote)):
        scaled = (sign * early[: sequences.BETTING] + 1.0) / 2.0
        bets = betting_above(scaled, (threshold + 1.0) / 2.0, sequences.BETTING_SHARE * level)
        proven = np.concatenate([[False], bets])[np.minimum(met, len(bets))]
        known = np.where(is_large, variance, 0.0)
        above: Flags = sign * gain - sequences.half_width(n.astype(np.float64), known, level) > threshold
        found.append(proven | (is_large & above))
    return found[0], found[1]
