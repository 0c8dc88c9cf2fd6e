"""Whether a student takes over from the model in service: `ABDecision`, from figures or from the rows of a trial.

`evaluate_shadow` and `evaluate_canary` may be asked after every row; all they need is in the rows, so that a restart
changes nothing. A phase ends wrongly in at most `alpha` of all trials: with `KeepControl` for a student that is as
good, or with `Promote` for one that is worse by the margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import ClassVar

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout.evidence import (
    Arm,
    Evidence,
    TrialRow,
    failures,
    latency,
    paired_failures,
    paired_quality,
    quality,
)
from ruvllm.tuning.rollout.figures import ABMetrics, ABTestResults, of_figures
from ruvllm.tuning.rollout.levels import Levels

__all__ = [
    "ABDecision",
    "ABMetrics",
    "ABTestResults",
    "Action",
    "Evidence",
    "TrialPair",
    "TrialRow",
    "evaluate_canary",
    "evaluate_shadow",
]

DEFAULTS = RolloutConfig()


class Action(StrEnum):
    """What to do with a student."""

    PROMOTE = "Promote"  # to the next phase, or to stand in for the model
    KEEP_CONTROL = "KeepControl"
    CONTINUE = "Continue"


@dataclass(frozen=True, slots=True)
class TrialPair:
    """One request that both models answered."""

    control: TrialRow
    treatment: TrialRow


@dataclass(frozen=True, eq=False)
class ABDecision:
    """What to do, and the evidence; equal to its `action`."""

    action: Action
    names: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    requests: int  # answered by the student

    Promote: ClassVar[Action] = Action.PROMOTE
    KeepControl: ClassVar[Action] = Action.KEEP_CONTROL
    Continue: ClassVar[Action] = Action.CONTINUE

    def reasons(self) -> tuple[str, ...]:
        """Return the names of what decided, such as "quality_regression" or, while nothing does, of what is open."""
        return self.names

    @property
    def detectable_loss(self) -> float:
        """The loss of quality that so many requests find in 80 % of trials, nan while they are too few for any."""
        return self.evidence[0].detectable

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ABDecision):
            return (self.action, self.names, self.evidence) == (other.action, other.names, other.evidence)
        return isinstance(other, str) and self.action == other

    def __hash__(self) -> int:
        return hash(self.action)

    @staticmethod
    def evaluate(results: ABTestResults, threshold: float = 0.05, config: RolloutConfig = DEFAULTS) -> ABDecision:
        """Return what figures alone say; `evaluate_shadow` and `evaluate_canary` see the rows and say more.

        Args:
            threshold: alpha, where the figures say of how many requests they are; else they are taken as they stand,
                and every loss counts.

        Raises:
            ValueError: a figure or the threshold is out of range.
        """
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"threshold must be in (0, 1) ({threshold})")
        evidence = of_figures(results, Levels(threshold), config)
        return _decided(evidence, requests=results.treatment.n or 0, enough=0, most=inf)


def evaluate_shadow(rows: Sequence[TrialPair], config: RolloutConfig) -> ABDecision:
    """Return whether a student that answers beside the model may begin to answer people.

    Args:
        rows: in the order in which they were answered.

    Raises:
        ValueError: a quality is not in [0, 1], or a latency not finite and >= 0.
    """
    levels = Levels(config.alpha)
    control, treatment = Arm([row.control for row in rows]), Arm([row.treatment for row in rows])
    evidence = (
        paired_quality(control, treatment, config.quality_margin, levels),
        paired_failures(control, treatment, config.failure_margin, levels),
        *latency(control, treatment, config.latency_ratio, levels),
    )
    return _decided(evidence, requests=len(rows), enough=config.shadow_requests, most=config.max_requests)


def evaluate_canary(
    control_rows: Sequence[TrialRow], treatment_rows: Sequence[TrialRow], config: RolloutConfig
) -> ABDecision:
    """Return whether a student that answers some of the sessions may answer all. Arguments as for `evaluate_shadow`."""
    levels = Levels(config.alpha)
    control, treatment = Arm(control_rows), Arm(treatment_rows)
    evidence = (
        quality(control, treatment, config.canary_margin, levels),
        failures(control.failures, treatment.failures, config.failure_margin, levels),
        *latency(control, treatment, config.latency_ratio, levels),
    )
    return _decided(evidence, requests=len(treatment), enough=config.canary_requests, most=config.max_requests)


def _decided(evidence: tuple[Evidence, ...], *, requests: int, enough: int, most: float) -> ABDecision:
    def named(metric: str, what: str) -> str:
        return f"{metric.partition('_p')[0]}_{what}"

    def decision(action: Action, names: Sequence[str]) -> ABDecision:
        return ABDecision(action, tuple(dict.fromkeys(names)), evidence, requests)

    worse = [named(one.metric, "regression") for one in evidence if one.is_worse]
    if worse:
        return decision(Action.KEEP_CONTROL, worse)
    undecided = [named(one.metric, "undecided") for one in evidence if not one.is_not_worse]
    if requests < enough:
        return decision(Action.CONTINUE, ["too_few_requests", *undecided])
    if not undecided:
        return decision(Action.PROMOTE, [named(one.metric, "not_worse") for one in evidence])
    if requests >= most:
        return decision(Action.KEEP_CONTROL, ["too_many_requests", *undecided])
    return decision(Action.CONTINUE, undecided)
