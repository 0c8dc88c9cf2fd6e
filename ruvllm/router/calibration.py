"""Confidence that means what it says: maps from a score in (0, 1) to the share of outcomes that come true at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["Calibration", "Kind", "isotonic"]

Floats = npt.NDArray[np.float64]
Kind = Literal["identity", "temperature", "platt", "isotonic"]

EDGE = 1e-6  # confidences are kept this far from 0 and 1 before their logit is taken
MAX_LOGIT = math.log(1.0 - EDGE) - math.log(EDGE)
SLOPES = (1 / 50, 50.0)  # of a temperature, inverted
STEPS = 100
# Of Platt scaling: slope and offset are a priori within 0.3 of the identity, so that few rows move little.
RIDGE = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A fitted, non-decreasing map of confidences.

    Attributes:
        kind: "temperature" is s(logit(c) / T), one parameter; "platt" s(a logit(c) + b), two; "isotonic" steps, joined
            by lines, that follow the outcomes wherever they go, for a thousand rows or more.
        x, y: (k,) float64: [T] and [] for a temperature, [a] and [b] for Platt, the corners of the steps for isotonic.

    Source: Guo et al. 2017 (arXiv:1706.04599); Platt 1999; Zadrozny and Elkan 2002.
    """

    kind: Kind
    x: Floats
    y: Floats

    @classmethod
    def identity(cls) -> Calibration:
        """Return the map that changes nothing."""
        return cls("identity", np.empty(0), np.empty(0))

    @classmethod
    def fit(cls, confidence: Floats, outcome: Floats, kind: Kind = "temperature") -> Calibration:
        """Return the map of this kind that fits held-out rows best: by likelihood, or by squares for "isotonic".

        Args:
            confidence: (n,) in [0, 1].
            outcome: (n,) in [0, 1]; a fraction is that share of successes.

        Raises:
            ValueError: a row is missing, not finite or out of range, or the kind is unknown.
        """
        confidence, outcome = np.asarray(confidence, np.float64), np.asarray(outcome, np.float64)
        if confidence.ndim != 1 or confidence.shape != outcome.shape or not len(confidence):
            raise ValueError(f"confidence and outcome must be (n,), n >= 1 ({confidence.shape}, {outcome.shape})")
        for name, value in (("confidence", confidence), ("outcome", outcome)):
            if not ((value >= 0.0) & (value <= 1.0)).all():
                raise ValueError(f"{name} must be in [0, 1]")
        if kind == "isotonic":
            return cls(kind, *isotonic(confidence, outcome))
        if kind == "platt":
            slope, offset = _platt(_logit(confidence), outcome)
            return cls(kind, np.array([slope]), np.array([offset]))
        if kind == "temperature":
            return cls(kind, np.array([1.0 / _slope(_logit(confidence), outcome)]), np.empty(0))
        if kind == "identity":
            return cls.identity()
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))} ({kind!r})")

    def apply(self, confidence: Floats) -> Floats:
        """Return the calibrated confidences, in the shape they came in, float64 in [0, 1]."""
        confidence = np.asarray(confidence, np.float64)
        if self.kind == "identity":
            return confidence
        if self.kind == "isotonic":
            return np.asarray(np.interp(confidence, self.x, self.y))
        if self.kind == "temperature":
            return _logistic(_logit(confidence) / self.x[0])
        return _logistic(self.x[0] * _logit(confidence) + self.y[0])

    def of_logit(self) -> Callable[[float], float]:
        """Return the map as a function of the logit of one confidence, in plain floats: many times faster."""
        if self.kind == "isotonic":
            return lambda z: float(np.interp(_logistic_of(z), self.x, self.y))
        slope, offset = 1.0, 0.0
        if self.kind == "temperature":
            slope = 1.0 / self.x.item()
        elif self.kind == "platt":
            slope, offset = self.x.item(), self.y.item()

        def calibrated(z: float) -> float:
            z = MAX_LOGIT if z > MAX_LOGIT else -MAX_LOGIT if z < -MAX_LOGIT else z
            return _logistic_of(slope * z + offset)

        return calibrated

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads: plain lists and strings."""
        return {"kind": self.kind, "x": self.x.tolist(), "y": self.y.tolist()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` wrote.

        Raises:
            ValueError: it is not one.
        """
        kind = fields.get("kind")
        x, y = (np.asarray(fields.get(name, ()), np.float64) for name in ("x", "y"))
        shapes = {"identity": ((0,), (0,)), "temperature": ((1,), (0,)), "platt": ((1,), (1,))}
        fits = (x.shape, y.shape) == shapes.get(str(kind)) or (
            kind == "isotonic" and x.ndim == 1 and x.shape == y.shape and len(x) > 0
        )
        if not fits or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"fields must describe a calibration (kind {kind!r}, {x.shape} and {y.shape})")
        if kind in ("temperature", "platt") and x[0] <= 0.0:
            raise ValueError(f"fields must have a positive slope ({x[0]})")
        if (np.diff(x) < 0.0).any() or (np.diff(y) < 0.0).any():
            raise ValueError("fields must not fall")
        return cls(kind, x, y)  # type: ignore[arg-type]


def isotonic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the corners (k,), (k,) of the non-decreasing steps nearest to `y` in squares, in ascending order of `x`.

    Pool adjacent violators, O(n) after sorting. Rows of equal `x` are one point; each step gives its two ends.

    Source: Ayer et al. 1955; Barlow et al. 1972.
    """
    points, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(place, y) / counts
    steps: list[tuple[float, int, int, int]] = []  # mean, weight, first point, last point
    for i, (mean, weight) in enumerate(zip(means.tolist(), counts.tolist(), strict=True)):
        first = i
        while steps and steps[-1][0] >= mean:
            before, size, first, _ = steps.pop()
            mean = (before * size + mean * weight) / (size + weight)
            weight += size
        steps.append((mean, weight, first, i))
    ends = np.array([end for _, _, first, last in steps for end in sorted({first, last})])
    heights = np.array([mean for mean, _, first, last in steps for _ in sorted({first, last})])
    return points[ends], np.clip(heights, 0.0, 1.0)


def _slope(z: Floats, outcome: Floats) -> float:
    """Return the b in SLOPES that minimises mean log(1 + exp(b z)) - outcome b z, which is convex: by bisection."""
    low, high = np.log(SLOPES)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        rises = float(((_logistic(np.exp(middle) * z) - outcome) * z).mean()) > 0.0
        low, high = (low, middle) if rises else (middle, high)
    return float(np.exp(0.5 * (low + high)))


def _platt(z: Floats, outcome: Floats) -> tuple[float, float]:
    """Return slope and offset by damped Newton steps; targets are drawn in as by Platt, so that both stay finite."""
    n = len(z)
    target = (outcome * n + 1.0) / (n + 2.0) if outcome.min() == outcome.max() else outcome
    rows, at = np.stack([z, np.ones(n)]), np.array([1.0, 0.0])
    rest = np.array([1.0, 0.0])

    def loss(at: Floats) -> float:
        logits = at @ rows
        return float((np.logaddexp(0.0, logits) - target * logits).sum() + 0.5 * RIDGE * ((at - rest) ** 2).sum())

    for _ in range(STEPS):
        p = _logistic(at @ rows)
        gradient = rows @ (p - target) + RIDGE * (at - rest)
        step = np.linalg.solve((rows * (p * (1.0 - p))) @ rows.T + RIDGE * np.eye(2), gradient)
        size = 1.0
        while loss(at - size * step) > loss(at) and size > 1e-6:
            size *= 0.5
        at = at - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    slope, offset = at.tolist()
    if slope <= 0.0:  # the score says nothing, or the opposite: the rate alone
        rate = float(target.mean())
        return 1e-9, float(np.log(rate / (1.0 - rate)))
    return slope, offset


def _logit(p: Floats) -> Floats:
    p = np.clip(p, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


def _logistic(z: Floats) -> Floats:
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0.0, 1.0, e) / (1.0 + e))


def _logistic_of(z: float) -> float:
    e = math.exp(-abs(z))
    return (1.0 if z >= 0.0 else e) / (1.0 + e)
