"""Tests and bounds that hold at all times: they may be looked at after every request, and err no more often for it.

- The mean of values in [-1, 1]: by betting over the first `BETTING` sessions, exact; from then on the asymptotic
  sequence, whose variance is that of whole sessions, since requests of one session are not independent.
- A rate: the mixture of likelihood ratios over a beta distribution, exact, also for the rarest events.
- A quantile: the same test of the rate at which it is undershot, exact for any distribution.

Each test gets a `level`: how often it may ever be wrong in one direction.

Sources: Waudby-Smith et al. 2021 (arXiv:2103.06476); Waudby-Smith and Ramdas 2020 (arXiv:2010.09686); Robbins 1970 for
the mixture; Howard and Ramdas 2022 (Bernoulli 28:1704) for quantiles by rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import inf, lgamma, log, log1p

import numpy as np
import numpy.typing as npt

from ruvllm.router.confidence_sequence import asymptotic_half_width, betting_above

__all__ = [
    "BETTING",
    "half_width",
    "is_above",
    "mean_bounds",
    "proven_above",
    "quantile_bounds",
    "quantile_ranks",
    "rate_above",
    "rate_bounds",
    "variance_of_mean",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BETTING = 200  # values below which nothing asymptotic counts
MIN_SESSIONS = 50  # and sessions
BETTING_SHARE = 0.2  # of the level
TIGHT_AT = 2000  # requests at which the asymptotic sequence is tightest
RATE_PRIOR = (0.5, 0.5)  # of the beta distribution that the mixture is over
QUANTILE_PRIOR = 100.0  # requests that it weighs, around p: tightest at about ten times as many
BISECTIONS = 30


# -- means -----------------------------------------------------------------------------------------------------------


def variance_of_mean(values: Floats, sessions: Ints) -> float:
    """Return the variance of the mean of `values` (n,), whole sessions being drawn; infinite below two sessions."""
    count = len(set(sessions.tolist()))
    if count < 2:
        return inf
    sums = np.bincount(sessions, values - values.mean())
    return float(sums @ sums) / len(values) ** 2 * count / (count - 1)


def half_width(n: int | Floats, variance: float | Floats, level: float) -> Floats:
    """Return how far a mean of `n` requests whose mean has `variance` may be off on one side, at the asymptotic part
    of `level`. For two arms `n` counts both and `variance` is that of the difference."""
    alpha = 2.0 * (1.0 - BETTING_SHARE) * level  # of both sides
    return asymptotic_half_width(n, np.sqrt(np.asarray(n, np.float64) * variance), alpha, TIGHT_AT)


def is_above(mean: float, n: int, variance: float, threshold: float, level: float) -> bool:
    """Return whether `mean` is proven to exceed `threshold` by the asymptotic sequence."""
    return bool(mean - half_width(n, variance, level) > threshold)


def proven_above(early: Floats, threshold: float, level: float) -> bool:
    """Return whether the mean of values in [-1, 1] was proven, by betting, to exceed `threshold` at any time so far."""
    if not len(early):
        return False
    scaled = (early[:BETTING] + 1.0) / 2.0
    return bool(betting_above(scaled, (threshold + 1.0) / 2.0, BETTING_SHARE * level)[-1])


def mean_bounds(early: Floats, level: float) -> tuple[float, float]:
    """Return the bounds, each at `level`, of the mean of values in [-1, 1] by betting."""
    low = _largest(lambda mean: proven_above(early, mean, level), -1.0, 1.0)
    high = _largest(lambda mean: proven_above(-early, mean, level), -1.0, 1.0)
    return low, -high


# -- rates -----------------------------------------------------------------------------------------------------------


def rate_above(events: int, n: int, rate: float, level: float, prior: tuple[float, float] = RATE_PRIOR) -> bool:
    """Return whether the rate behind `events` of `n` is proven to exceed `rate`."""
    return events > n * rate and _log_ratio(events, n, rate, prior) >= -log(level)


@lru_cache(maxsize=1 << 16)
def rate_bounds(events: int, n: int, level: float) -> tuple[float, float]:
    """Return the bounds, each at `level`, of the rate behind `events` of `n`; (0, 1) where nothing was seen."""
    if not n:
        return 0.0, 1.0
    low = _largest(lambda rate: rate_above(events, n, rate, level), 0.0, events / n)
    high = _largest(lambda rate: rate_above(n - events, n, rate, level), 0.0, 1.0 - events / n)
    return low, 1.0 - high


def _log_ratio(events: int, n: int, rate: float, prior: tuple[float, float]) -> float:
    """Return the log of the likelihood of `events` of `n` at rates drawn from Beta(prior) over that at `rate`; convex
    in both `rate` and `events`."""
    if rate <= 0.0 or rate >= 1.0:
        return inf
    a, b = prior
    mixed = lgamma(a + events) + lgamma(b + n - events) - lgamma(a + b + n) - (lgamma(a) + lgamma(b) - lgamma(a + b))
    return mixed - events * log(rate) - (n - events) * log1p(-rate)


# -- quantiles -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def quantile_ranks(n: int, p: float, level: float) -> tuple[int, int]:
    """Return which of `n` ascending values, counted from 1, bound the p-quantile, each at `level`; 0, n + 1: none does.

    The values up to the quantile come at a rate of at least p, those below it at a rate of at most p: a value with so
    few up to the one before it lies at or below the quantile, one with so many up to it at or above.
    """

    def least(rate: float) -> int:
        """Return how many of `n` prove a rate above `rate`; n + 1 where none do."""
        prior = (QUANTILE_PRIOR * rate, QUANTILE_PRIOR * (1.0 - rate))
        low, high = int(n * rate), n + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if rate_above(middle, n, rate, level, prior) else (middle, high)
        return high

    return n + 1 - least(1.0 - p), least(p)


def quantile_bounds(ascending: Sequence[float], p: float, level: float) -> tuple[float, float]:
    """Return the bounds, each at `level`, of the p-quantile behind values >= 0; 0 and infinity where none is proven."""
    low, high = quantile_ranks(len(ascending), p, level)
    return (ascending[low - 1] if low >= 1 else 0.0), (ascending[high - 1] if high <= len(ascending) else inf)


def _largest(is_rejected: Callable[[float], bool], low: float, high: float) -> float:
    """Return the largest value in [low, high] that is rejected, `low` where none is; smaller ones are, too."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_rejected(middle) else (low, middle)
    return low
