"""Two arms of which only figures are known, not the requests."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import sequences
from ruvllm.tuning.rollout.evidence import Evidence, failures
from ruvllm.tuning.rollout.levels import Levels
from ruvllm.tuning.rollout.power import detectable_loss

__all__ = ["ABMetrics", "ABTestResults", "of_figures"]


@dataclass(frozen=True, slots=True)
class ABMetrics:
    """The figures of one arm, over `n` requests; without `n` they are what they are, not an estimate.

    Raises:
        ValueError: a figure is out of range.
    """

    quality: float
    latency_p50: float  # ms
    failure_rate: float
    n: int | None = None

    def __post_init__(self) -> None:
        for name in ("quality", "failure_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1] ({getattr(self, name)})")
        if not 0.0 <= self.latency_p50 < inf:
            raise ValueError(f"latency_p50 must be finite and >= 0 ({self.latency_p50})")
        if self.n is not None and self.n < 1:
            raise ValueError(f"n must be >= 1 ({self.n})")


@dataclass(frozen=True, slots=True)
class ABTestResults:
    """The figures of the model in service and of the student.

    Raises:
        ValueError: only one arm has `n`.
    """

    control: ABMetrics
    treatment: ABMetrics

    def __post_init__(self) -> None:
        if (self.control.n is None) != (self.treatment.n is None):
            raise ValueError("n must be given for both arms, or for none")


def of_figures(results: ABTestResults, levels: Levels, config: RolloutConfig) -> tuple[Evidence, ...]:
    """Return the evidence of each metric. Latency has no spread here: its ratio is taken as it stands."""
    x, y = results.treatment, results.control
    ratio = x.latency_p50 / y.latency_p50 if y.latency_p50 else (nan if not x.latency_p50 else inf)
    is_later = ratio > config.latency_ratio
    latency = Evidence(
        "latency_p50", y.latency_p50, x.latency_p50, ratio, ratio, ratio, x.n or 0, is_later, not is_later
    )
    if x.n is None or y.n is None:
        return (
            _as_it_stands("quality", y.quality, x.quality, sign=1.0),
            _as_it_stands("failure_rate", y.failure_rate, x.failure_rate, sign=-1.0),
            latency,
        )
    failed_x, failed_y = (round(x.failure_rate * x.n), x.n), (round(y.failure_rate * y.n), y.n)
    return (
        _quality(x, y, x.n, y.n, levels, config),
        failures(failed_y, failed_x, config.failure_margin, levels),
        latency,
    )


def _as_it_stands(metric: str, control: float, treatment: float, *, sign: float) -> Evidence:
    gain = treatment - control
    is_worse = sign * gain < 0.0
    return Evidence(metric, control, treatment, gain, gain, gain, 0, is_worse, not is_worse)


def _quality(x: ABMetrics, y: ABMetrics, n: int, m: int, levels: Levels, config: RolloutConfig) -> Evidence:
    """A quality in [0, 1] of mean q has a variance of at most q (1 - q)."""
    gain = x.quality - y.quality
    variance = x.quality * (1.0 - x.quality) / n + y.quality * (1.0 - y.quality) / m
    width = float(sequences.half_width(n + m, variance, levels.promote))
    is_large = min(n, m) > sequences.BETTING
    is_worse = is_large and sequences.is_above(-gain, n + m, variance, 0.0, levels.worse("quality"))
    low, high = (gain - width, gain + width) if is_large else (-1.0, 1.0)
    found = detectable_loss(n + m, variance, levels.worse("quality")) if is_large else nan
    return Evidence("quality", y.quality, x.quality, gain, low, high, n, is_worse, low > -config.canary_margin, found)
