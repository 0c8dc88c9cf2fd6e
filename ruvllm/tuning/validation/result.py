"""Whether a student may be tried on people: it must be proven not worse than its baseline in all that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import expm1, inf, isfinite, nan
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ruvllm.router.measures import Interval, Measure, paired_difference
from ruvllm.tuning.validation.metrics import Metrics

__all__ = ["Gate", "Limits", "ValidationResult"]

Floats = npt.NDArray[np.float64]

DRAWS, CHUNK = 32768, 512  # of weights for an interval, and of these at a time
LEVEL = 0.9  # of the two-sided interval, whose either end is a bound of 95 %
GATES: Mapping[str, Literal["higher", "lower", "ratio"]] = {
    "accuracy": "higher",
    "f1": "higher",
    "judge_quality": "higher",
    "perplexity": "ratio",
    "refusal_rate": "lower",
    "format_rate": "higher",
    "latency_ms": "ratio",
    "bytes": "ratio",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """By how much a student may be worse than its baseline: shares as differences, the others as ratios."""

    accuracy: float = 0.02
    f1: float = 0.02
    judge_quality: float = 0.02
    perplexity: float = 0.02
    refusal_rate: float = 0.02
    format_rate: float = 0.02
    latency_ms: float = 0.2
    bytes: float = 0.1
    questions: int = 160  # of 148 or fewer not even answers that are all the same prove a loss below 2 %

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 <= value < inf:
                raise ValueError(f"{name} must be finite and >= 0 ({value})")


@dataclass(frozen=True, slots=True)
class Gate:
    """One metric of both models, and by how much the student is worse (below 0: better), with a 90 % interval: each end
    is a bound of 95 %. `reason` is "" where the upper end is within the limit."""

    metric: str
    student: float
    baseline: float
    loss: Interval
    limit: float
    reason: str


@dataclass(frozen=True)
class ValidationResult:
    """A student beside its baseline: their `Metrics`, or their accuracies alone, which are taken as they stand.

    Where both have values by question, the questions bound the loss, and the bound must be within the limit: too few
    prove too little. Bounds of shares hold however few answers differ; ratios are bounded by a paired bootstrap. What
    was measured of neither model is not judged.
    """

    student: float | Metrics
    baseline: float | Metrics
    limits: Limits = Limits()
    holdout: str = ""  # its hash
    gates: tuple[Gate, ...] = field(init=False, repr=False, compare=False)
    questions: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        student, baseline = (_metrics(one) for one in (self.student, self.baseline))
        found = [_gate(name, student, baseline, getattr(self.limits, name)) for name in GATES]
        object.__setattr__(self, "gates", tuple(gate for gate in found if gate is not None))
        by_question = student.by_question.get("accuracy")
        object.__setattr__(self, "questions", None if by_question is None else len(by_question))

    def approved_for_deployment(self) -> bool:
        """Return whether the student may go into a trial."""
        return not self.reasons()

    def reasons(self) -> tuple[str, ...]:
        """Return why not, by name: "accuracy_regression" where the student is proven worse, "accuracy_not_proven" where
        it may be worse by more than the limit, "accuracy_not_measured", "too_few_questions"."""
        few = ["too_few_questions"] if self._has_few() else []
        return (*few, *(gate.reason for gate in self.gates if gate.reason))

    def rejection_reason(self) -> str:
        """Return the reasons in words, with the figures; "" where there are none."""
        said = [f"too_few_questions: {self.questions} of {self.limits.questions}"] if self._has_few() else []
        for gate in self.gates:
            if gate.reason:
                loss = f"{gate.loss.value:+.3f} ({gate.loss.low:+.3f} to {gate.loss.high:+.3f})"
                figures = f"{gate.student:.4g}, baseline {gate.baseline:.4g}"
                said.append(f"{gate.reason}: {figures}, worse by {loss}, limit {gate.limit:g}")
        return "; ".join(said)

    def evidence(self) -> dict[str, Any]:
        """Return the figures, bounds and reasons as JSON can hold them."""
        return {
            "holdout": self.holdout,
            "questions": self.questions,
            "approved": self.approved_for_deployment(),
            "reasons": list(self.reasons()),
            "gates": {gate.metric: asdict(gate) for gate in self.gates},
        }

    def _has_few(self) -> bool:
        return self.questions is not None and self.questions < self.limits.questions


def _metrics(given: float | Metrics) -> Metrics:
    if isinstance(given, Metrics):
        return given
    if not 0.0 <= given <= 1.0:
        raise ValueError(f"an accuracy must be in [0, 1] ({given})")
    return Metrics(accuracy=float(given))


def _gate(name: str, student: Metrics, baseline: Metrics, limit: float) -> Gate | None:
    x, y = getattr(student, name), getattr(baseline, name)
    if x is None and y is None:
        return None
    if x is None or y is None:
        nothing = Interval(nan, nan, nan)
        return Gate(name, nan if x is None else x, nan if y is None else y, nothing, limit, f"{name}_not_measured")
    loss = _loss(name, student, baseline)
    if not isfinite(loss.high):
        return Gate(name, x, y, loss, limit, f"{name}_regression")
    reason = "" if loss.high <= limit else f"{name}_regression" if loss.low > 0.0 else f"{name}_not_proven"
    return Gate(name, float(x), float(y), loss, limit, reason)


def _loss(name: str, student: Metrics, baseline: Metrics) -> Interval:
    """Return by how much the student is worse; values by question hold logarithms where a ratio is meant."""
    kind = GATES[name]
    of_x, of_y = student.by_question.get(name), baseline.by_question.get(name)
    if of_x is None or of_y is None:
        x, y = getattr(student, name), getattr(baseline, name)
        value = y - x if kind == "higher" else x - y if kind == "lower" else x / y - 1.0
        return Interval(value, value, value)
    if len(of_x) != len(of_y):
        raise ValueError(f"student and baseline must have answered the same questions ({len(of_x)}, {len(of_y)})")
    if not np.isfinite(of_x).all():  # a broken model
        return Interval(inf, inf, inf)
    if kind == "ratio":
        found = paired_difference(_mean(of_x), _mean(of_y), len(of_x), level=LEVEL)
        return Interval(*map(expm1, (found.value, found.low, found.high)))
    return _mean_loss(of_y - of_x if kind == "higher" else of_x - of_y)


def _mean_loss(losses: Floats) -> Interval:
    """Return the mean of (n,) losses in [-1, 1], with an interval that is not too short for few questions either.

    Each end is that of a Bayesian bootstrap over the losses and one more, the most extreme there can be. Where all are
    0 or 1, it is Clopper and Pearson's.

    Source: Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
    variable; Learned-Miller and Thomas 2019, arXiv:1905.06208.
    """
    values, counts = np.unique(losses, return_counts=True)
    shapes = np.append(counts, 1.0)
    rng = np.random.default_rng(0)
    lows, highs = [], []
    for _ in range(0, DRAWS, CHUNK):
        weights = rng.gamma(shapes, size=(CHUNK, len(shapes)))
        weights /= weights.sum(axis=1, keepdims=True)
        known, unknown = weights[:, :-1] @ values, weights[:, -1]
        lows.append(known - unknown)
        highs.append(known + unknown)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(np.concatenate(lows), tail), np.quantile(np.concatenate(highs), 1.0 - tail)
    return Interval(float(losses.mean()), float(low), float(high))


def _mean(values: Floats) -> Measure:
    return lambda copies: np.asarray(copies @ values / copies.sum(axis=1))
