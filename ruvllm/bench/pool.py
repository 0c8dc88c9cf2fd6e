"""Figures of several systems on the same questions, pooled over orders and compared pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ruvllm.bench.report import Row, bootstrap_interval

__all__ = ["Pool"]


class Pool:
    """Collects (questions, metrics) figures per system; a question may come again in another order.

    Args:
        metrics: names of the columns.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = list(metrics)
        self._values: dict[str, list[np.ndarray]] = {}
        self._clusters: dict[str, list[np.ndarray]] = {}

    def add(self, system: str, clusters: Sequence[int] | np.ndarray, values: np.ndarray) -> None:
        """Add figures of a system.

        Args:
            clusters: (n,) what each row belongs to: its question, or the conversation that it was asked about.
            values: (n, metrics).
        """
        self._values.setdefault(system, []).append(values)
        self._clusters.setdefault(system, []).append(np.asarray(clusters))

    @property
    def systems(self) -> list[str]:
        """Their names, in the order in which they were first added."""
        return list(self._values)

    def count(self, system: str) -> int:
        """Return how many rows a system has."""
        return sum(map(len, self._values[system]))

    def mean(self, system: str, metric: str) -> float:
        """Return a system's mean."""
        return float(self._column(system, metric).mean())

    def median(self, system: str, metric: str) -> float:
        """Return a system's median."""
        return float(np.median(self._column(system, metric)))

    def rows(self, system: str, metrics: Sequence[str] | None = None) -> list[Row]:
        """Return a system's means with their intervals."""
        return [
            Row(f"{system}, {metric}", self.mean(system, metric), "fraction", self._interval(system, metric))
            for metric in metrics or self._metrics
        ]

    def gain(self, system: str, over: str, metric: str, *, name: str | None = None, target: float | None = None) -> Row:
        """Return the paired gain of a system over another with its interval; both were added for the same rows."""
        value, interval = self._paired(system, self, over, metric, 0.95)
        met = None if target is None else value >= target
        return Row(
            name or f"{system}, gain in {metric} over {over}", value, "fraction", interval, target=target, met=met
        )

    def difference(self, system: str, other: Pool, over: str, metric: str) -> Row:
        """Return what a system is better by than one of another pool, with its interval; the same rows in both."""
        value, interval = self._paired(system, other, over, metric, 0.95)
        return Row(f"{system}, difference in {metric}", value, "fraction", interval)

    def bound(self, system: str, over: str, metric: str, *, name: str, margin: float) -> Row:
        """Return the gain of which one is 95 % sure, and whether it shows that no more than `margin` is lost."""
        _, (bound, _) = self._paired(system, self, over, metric, 0.9)
        return Row(name, bound, "fraction", target=-margin, met=bound >= -margin)

    def _paired(
        self, system: str, other: Pool, over: str, metric: str, level: float
    ) -> tuple[float, tuple[float, float]]:
        gains = self._column(system, metric) - other._column(over, metric)
        clusters = np.concatenate(self._clusters[system])
        return float(gains.mean()), bootstrap_interval(gains, clusters=clusters, level=level)

    def _interval(self, system: str, metric: str) -> tuple[float, float]:
        return bootstrap_interval(self._column(system, metric), clusters=np.concatenate(self._clusters[system]))

    def _column(self, system: str, metric: str) -> np.ndarray:
        column: np.ndarray = np.concatenate(self._values[system])[:, self._metrics.index(metric)]
        return column
