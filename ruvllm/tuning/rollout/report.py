"""A trial as a report: the decision, the evidence behind it, and how it came about request by request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout.decision import ABDecision, TrialPair, TrialRow, evaluate_canary, evaluate_shadow

__all__ = ["Phase", "RolloutReport", "rollout_report"]

MOMENTS = 40  # at which a phase is looked at again

TITLES = {
    "quality": "quality",
    "failure_rate": "failures",
    "latency_p50": "p50, ms",
    "latency_p95": "p95, ms",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A shadow or a canary phase: what is decided, and what was after fewer requests, in order."""

    name: str
    decision: ABDecision
    history: tuple[ABDecision, ...]

    def __str__(self) -> str:
        decision = self.decision
        lines = [
            f"{self.name}: {decision.action} after {decision.requests} requests ({', '.join(decision.reasons())})",
            f"  {'':10} {'control':>10} {'student':>10} {'difference':>11}   at all times",
        ]
        for one in decision.evidence:
            is_ratio = one.metric.startswith("latency")
            difference = f"{'x' if is_ratio else ''}{one.difference:.3f}"
            said = "worse" if one.is_worse else "not worse" if one.is_not_worse else "undecided"
            lines.append(
                f"  {TITLES[one.metric]:10} {one.control:10.3f} {one.treatment:10.3f} {difference:>11}   "
                f"{one.low:.3f} to {one.high:.3f}, {said}"
            )
        return "\n".join([*lines, f"  {_promise(decision.detectable_loss)}"])


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """The phases of a student's trial so far; `str` of it is a page of text, `pictures` draws it."""

    student: str
    phases: tuple[Phase, ...]

    def __str__(self) -> str:
        return "\n\n".join([f"Rollout of {self.student}", *map(str, self.phases)])


def rollout_report(
    student: str,
    shadow: Sequence[TrialPair],
    config: RolloutConfig,
    *,
    canary: tuple[Sequence[TrialRow], Sequence[TrialRow]] | None = None,
) -> RolloutReport:
    """Return the report on rows in the order in which they came.

    Args:
        canary: rows of the control and of the student; None before that phase. How one grew beside the other is not in
            them: the history takes equal shares of both.
    """
    phases = [_phase("shadow", len(shadow), lambda n: evaluate_shadow(shadow[:n], config))]
    if canary is not None:
        control, treatment = canary

        def after(n: int) -> ABDecision:
            beside = round(len(control) * n / max(len(treatment), 1)) if treatment else len(control)
            return evaluate_canary(control[:beside], treatment[:n], config)

        phases.append(_phase("canary", len(treatment), after))
    return RolloutReport(student, tuple(phases))


def _promise(loss: float) -> str:
    if isnan(loss):
        return "too few requests to promise that any loss of quality is found"
    return f"a loss of {100.0 * loss:.1f} points is found in 80 % of trials of this length; of less nothing is promised"


def _phase(name: str, requests: int, after: Callable[[int], ABDecision]) -> Phase:
    counts = sorted({max(requests * i // MOMENTS, 1) for i in range(1, MOMENTS + 1)}) if requests else [0]
    history = tuple(map(after, counts))
    return Phase(name, history[-1], history)
