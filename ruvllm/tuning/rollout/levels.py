"""How the errors that a trial may make are shared out among its tests."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Levels"]

SHARES = {"quality": 0.6, "failure_rate": 0.2, "latency_p50": 0.1, "latency_p95": 0.1}


@dataclass(frozen=True, slots=True)
class Levels:
    """How often each test may ever be wrong: half of `alpha` for keeping the control, shared out among the metrics;
    half for promoting, which takes all of them at once."""

    alpha: float

    @property
    def promote(self) -> float:
        """Of each proof that a student is not worse."""
        return 0.5 * self.alpha

    def worse(self, metric: str) -> float:
        """Of the proof that it is worse."""
        return 0.5 * self.alpha * SHARES[metric]
