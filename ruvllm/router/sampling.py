"""Temperature and top_p: drawn now and then, and moved only where the answers to such draws prove a gain.

Among the requests that are drawn, each setting has the same chance, the configured one too: a randomised experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.router.confidence_sequence import mean_interval
from ruvllm.router.measures import Interval

__all__ = ["MIN_DRAWN", "Draw", "Proof", "Setting", "proven", "settings"]

Floats = npt.NDArray[np.float64]

MIN_DRAWN = 500  # rated draws below which nothing moves
ALPHA = 0.05  # how often a setting without a gain is ever taken, however long one looks


@dataclass(frozen=True, slots=True)
class Setting:
    """How tokens are drawn; at temperature 0 the likeliest is, whatever `top_p`."""

    temperature: float
    top_p: float


TRIED = (Setting(0.0, 1.0), Setting(0.4, 0.9), Setting(0.8, 0.95))


@dataclass(frozen=True, slots=True)
class Draw:
    """A request whose setting was drawn with `chance`: what was expected of its quality before, and what it was."""

    setting: Setting
    chance: float
    expected: float
    quality: float


@dataclass(frozen=True, slots=True)
class Proof:
    """A setting and its gain in quality over the configured one, with an interval that holds at all times."""

    setting: Setting
    gain: Interval
    rated: int


def settings(configured: Setting) -> tuple[Setting, ...]:
    """Return what is drawn from: the configured setting first, then the others."""
    is_greedy = configured.temperature == 0.0
    others = [one for one in TRIED if one != configured and not (is_greedy and one.temperature == 0.0)]
    return (configured, *others)


def proven(draws: Sequence[Draw], configured: Setting) -> Proof | None:
    """Return the setting that surely gains most over the configured one, None while none surely does.

    The gain of a request is w_k (r - f) - w_0 (r - f), w = 1[drawn] / chance: unbiased whatever was expected, f, and
    narrower the more that tells. Its mean has an interval that may be looked at after every request (see
    `confidence_sequence`), at level `ALPHA` over all settings.
    """
    known = settings(configured)
    place = {setting: i for i, setting in enumerate(known)}
    told = [draw for draw in draws if draw.setting in place]
    if len(told) < MIN_DRAWN:
        return None
    drawn = np.array([place[draw.setting] for draw in told])
    weighted = np.array([(draw.quality - draw.expected) / draw.chance for draw in told])
    bound = 1.0 / min(draw.chance for draw in told)
    found = []
    for k in range(1, len(known)):
        gains: Floats = np.where(drawn == k, weighted, 0.0) - np.where(drawn == 0, weighted, 0.0)
        interval = mean_interval(gains, bound=bound, alpha=ALPHA / (len(known) - 1))
        if interval.low > 0.0:
            found.append(Proof(known[k], interval, len(told)))
    return max(found, key=lambda one: one.gain.low, default=None)
