"""What a trial can find: the loss that so many requests show, before one is begun or while it runs."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import sequences
from ruvllm.tuning.rollout.levels import Levels

__all__ = ["POWER", "detectable_in_canary", "detectable_in_shadow", "detectable_loss"]

POWER = 0.8  # share of trials


def detectable_loss(n: int, variance: float, level: float, power: float = POWER) -> float:
    """Return the loss of quality that `n` requests prove with `power`, looked at once, after the last.

    Looking earlier, too, finds it somewhat more often: the figure is on the safe side.

    Args:
        n: requests of both arms, where each request went to one.
        variance: of the mean difference.
        level: of the proof.
    """
    return float(sequences.half_width(n, variance, level)) + NormalDist().inv_cdf(power) * sqrt(variance)


def detectable_in_shadow(pairs: int, quality_sd: float, config: RolloutConfig) -> float:
    """Return the same for pairs whose qualities differ with a standard deviation of `quality_sd`."""
    return detectable_loss(pairs, quality_sd**2 / pairs, Levels(config.alpha).worse("quality"))


def detectable_in_canary(requests: int, quality_sd: float, config: RolloutConfig) -> float:
    """Return the same where the student answered `requests`, its share of all; the qualities of an arm have
    `quality_sd`."""
    others = requests * (1.0 - config.canary_share) / config.canary_share
    variance = quality_sd**2 * (1.0 / requests + 1.0 / others)
    return detectable_loss(round(requests + others), variance, Levels(config.alpha).worse("quality"))
