"""One way to show a figure: rows with units, intervals, peers and targets, as a table or as one JSON object."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ruvllm.machine import machine

__all__ = ["Report", "Row", "bootstrap_interval", "make_report"]

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `interval` is a 95 % interval, `ratio` the value over the best peer, `floor` a physical limit."""

    name: str
    value: float
    unit: str
    interval: tuple[float, float] | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    floor: float | None = None
    target: float | None = None
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of one bench, with the machine and the commit they were measured on."""

    bench: str
    machine: Mapping[str, str | int]
    commit: str | None
    rows: tuple[Row, ...]


def make_report(bench: str, rows: list[Row]) -> Report:
    """Return a report of `rows` measured here and now."""
    return Report(bench=bench, machine=machine(), commit=_commit(), rows=tuple(rows))


def bootstrap_interval(
    values: np.ndarray, *, clusters: np.ndarray | None = None, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile-bootstrap interval of the mean of `values` (n,); for paired gains pass differences.

    Args:
        clusters: (n,) what each value belongs to: whole clusters are drawn, since values of one are not independent.
        level: coverage; the lower end at 0.9 is a one-sided bound of 95 %.
    """
    rng = np.random.default_rng(seed)
    _, member = np.unique(np.arange(len(values)) if clusters is None else clusters, return_inverse=True)
    sums, counts = np.bincount(member, values), np.bincount(member)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [50.0 * (1.0 - level), 50.0 * (1.0 + level)])
    return float(low), float(high)


def _commit() -> str | None:
    """Return the commit of the checkout this package runs from, None when installed elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or None
