"""Whether a new router may take over from the running one: tests that may be looked at after every request.

Below `BETTING` pairs a test by betting decides, exact for bounded differences; from there on the asymptotic sequence,
which needs no bounds. The first gets a fifth of `alpha`, the second the rest: together they err at most that often, at
any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
import numpy.typing as npt

from ruvllm.router.measures import Interval

__all__ = ["Action", "Verdict", "actions", "asymptotic_half_width", "betting_above", "compare", "mean_interval"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Action = Literal["continue", "promote", "roll back"]

BETTING = 200
BETTING_SHARE = 0.2  # of alpha
TIGHT_AT = 5000  # pairs at which the asymptotic sequence is tightest
MAX_BET = 0.75  # of what could ruin the bettor
BISECTIONS = 40


def asymptotic_half_width(n: int | Floats, sd: float | Floats, alpha: float, tight_at: int = TIGHT_AT) -> Floats:
    """Return the half-width around a mean of `n` that covers at all times with 1 - alpha, asymptotically.

    sd sqrt(2 (n p^2 + 1) / (n^2 p^2) log(sqrt(n p^2 + 1) / alpha)), p^2 = (-2 log alpha + log(-2 log alpha) + 1) /
    tight_at; 3.04 sd / sqrt(n) at n = tight_at, alpha 0.05.

    Source: Waudby-Smith et al. 2021 (arXiv:2103.06476).
    """
    twice = -2.0 * log(alpha)
    n = np.asarray(n, np.float64)
    np2 = n * (twice + log(twice) + 1.0) / tight_at
    return np.asarray(sd * np.sqrt(2.0 * (np2 + 1.0) / (n * np2) * np.log(np.sqrt(np2 + 1.0) / alpha)))


def betting_above(x: Floats, mean: float, alpha: float) -> Flags:
    """Return for each prefix of `x` (..., n) in [0, 1] whether its mean is proven to lie above `mean`, (..., n).

    Capital prod (1 + b_t (x_t - mean)) never grows on average unless it does; it reaching 1 / alpha once is proof at
    level alpha. b_t is set before x_t: sqrt(2 log(1 / alpha) / (variance so far * t log(t + 1))), <= MAX_BET / mean.

    Source: Waudby-Smith and Ramdas 2020 (arXiv:2010.09686), predictable plug-in.
    """
    if mean <= 0.0:  # a smaller mean than 0 cannot be
        return np.full(x.shape, mean < 0.0)
    t = np.arange(1, x.shape[-1] + 1)
    centre = (0.5 + np.cumsum(x, axis=-1)) / (t + 1)
    variance = (0.25 + np.cumsum((x - centre) ** 2, axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variance[..., :-1]], axis=-1)
    bet = np.minimum(np.sqrt(2.0 * log(1.0 / alpha) / (before * t * np.log(t + 1.0))), MAX_BET / mean)
    capital = np.cumsum(np.log1p(bet * (x - mean)), axis=-1)
    return np.asarray(np.maximum.accumulate(capital, axis=-1) >= log(1.0 / alpha))


def _above(x: Floats, mean: float, bound: float, alpha: float) -> Flags:
    """Return for each prefix of `x` (..., n) in [-bound, bound] whether its mean exceeds `mean`, at level alpha / 2."""
    early = (x[..., :BETTING] / bound + 1.0) / 2.0
    proven = betting_above(early, (mean / bound + 1.0) / 2.0, BETTING_SHARE * alpha / 2.0)
    n = np.arange(1, x.shape[-1] + 1)
    later = n[BETTING:]
    if not len(later):
        return proven
    sums, squares = np.cumsum(x, axis=-1)[..., BETTING:], np.cumsum(x * x, axis=-1)[..., BETTING:]
    sd = np.sqrt(np.maximum(squares / later - (sums / later) ** 2, 0.0))
    lower = sums / later - asymptotic_half_width(later, sd, (1.0 - BETTING_SHARE) * alpha)
    return np.concatenate([proven, proven[..., -1:] | (lower > mean)], axis=-1)


def actions(
    quality: Floats, cost: Floats, *, margin: float, cost_bound: float, alpha: float = 0.05
) -> npt.NDArray[np.int8]:
    """Return what to do after each pair, (..., n): 1 promote, -1 roll back, 0 continue. Arguments as for `compare`."""
    is_worse = _above(-quality, margin, 1.0, alpha)
    is_as_good = _above(quality, -margin, 1.0, alpha)
    is_cheaper = _above(-cost, 0.0, cost_bound, alpha)
    return (is_as_good & is_cheaper).astype(np.int8) - is_worse.astype(np.int8)


def mean_interval(x: Floats, *, bound: float = 1.0, alpha: float = 0.05) -> Interval:
    """Return the mean of `x` (n,) in [-bound, bound] with the interval that holds at all times with 1 - alpha."""
    x = np.asarray(x, np.float64)
    low = _lower(x, bound, alpha)
    return Interval(float(x.mean()), low, -_lower(-x, bound, alpha))


def _lower(x: Floats, bound: float, alpha: float) -> float:
    """Return the largest mean that `_above` rejects, by bisection."""
    low, high = -bound, bound
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _above(x, middle, bound, alpha)[-1] else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a new router, and the mean differences that say so, new minus old, over `pairs` requests."""

    action: Action
    quality: Interval
    cost: Interval
    pairs: int


def compare(quality: Floats, cost: Floats, *, margin: float, cost_bound: float, alpha: float = 0.05) -> Verdict:
    """Return whether the new router takes over; may be asked after every request.

    Promote when its quality is proven to lie less than `margin` below the old one's and its cost below it; roll back
    when its quality is proven to lie further below; else go on.

    Args:
        quality: (n,) in [-1, 1], quality of the new router's answer minus that of the old one's, one a request.
        cost: (n,) in [-cost_bound, cost_bound], the same for cost.
        margin: of quality, in [0, 1).
        alpha: how often a router that is no better or worse may be acted upon, over all times.

    Raises:
        ValueError: lengths differ or are 0, or a value is out of range.
    """
    quality, cost = np.asarray(quality, np.float64), np.asarray(cost, np.float64)
    if quality.shape != cost.shape or quality.ndim != 1 or not len(quality):
        raise ValueError(f"quality and cost must be (n,), n >= 1 ({quality.shape}, {cost.shape})")
    if not cost_bound > 0.0 or not 0.0 <= margin < 1.0 or not 0.0 < alpha < 1.0:
        raise ValueError(f"cost_bound > 0, 0 <= margin < 1, 0 < alpha < 1 ({cost_bound}, {margin}, {alpha})")
    for name, value, bound in (("quality", quality, 1.0), ("cost", cost, cost_bound)):
        if not (np.abs(value) <= bound).all():
            raise ValueError(f"{name} must be in [-{bound:g}, {bound:g}]")
    last = int(actions(quality, cost, margin=margin, cost_bound=cost_bound, alpha=alpha)[-1])
    named: dict[int, Action] = {1: "promote", -1: "roll back", 0: "continue"}
    return Verdict(
        action=named[last],
        quality=mean_interval(quality, alpha=alpha),
        cost=mean_interval(cost, bound=cost_bound, alpha=alpha),
        pairs=len(quality),
    )
