"""What is known of one phase of a trial, as the decision about it reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ruvllm.checkpoints import Phase
from ruvllm.config import RolloutConfig
from ruvllm.memory.trials import TrialOutcome
from ruvllm.tuning.rollout.decision import ABDecision, TrialPair, TrialRow, evaluate_canary, evaluate_shadow

__all__ = ["PhaseOutcomes", "evidence_of"]

NEW_SHARE = 0.01  # of the student's outcomes that must be new before all are looked at again


class PhaseOutcomes:
    """The outcomes of one phase against one control, in the order in which they came.

    In the shadow phase both models answer every request; in the canary phase each request has one of them.
    """

    def __init__(self, phase: Phase, outcomes: Iterable[TrialOutcome] = ()) -> None:
        self.phase = phase
        self._arms: dict[bool, dict[str, TrialRow]] = {False: {}, True: {}}  # by request
        self._looked_at = 0
        self.add(outcomes)

    def add(self, outcomes: Iterable[TrialOutcome]) -> None:
        """Take in outcomes; of one request and model the first counts."""
        for one in outcomes:
            row = TrialRow(one.quality, one.latency_ms, one.failed, one.session)
            self._arms[one.treatment].setdefault(one.request, row)

    def __len__(self) -> int:
        return len(self._arms[True])

    @property
    def is_due(self) -> bool:
        """Whether enough is new since `decide` that it may say something else."""
        return len(self) - self._looked_at >= max(1.0, NEW_SHARE * len(self))

    def decide(self, config: RolloutConfig) -> ABDecision:
        """Return what follows from all of them."""
        self._looked_at = len(self)
        return (
            evaluate_shadow(self.pairs(), config) if self.phase == "shadow" else evaluate_canary(*self.arms(), config)
        )

    def arms(self) -> tuple[list[TrialRow], list[TrialRow]]:
        """Return the rows of the control and of the student."""
        return list(self._arms[False].values()), list(self._arms[True].values())

    def pairs(self) -> list[TrialPair]:
        """Return the requests that both answered."""
        control = self._arms[False]
        return [TrialPair(control[id], row) for id, row in self._arms[True].items() if id in control]


def evidence_of(decision: ABDecision) -> Mapping[str, Any]:
    """Return what the registry's history keeps of a decision."""
    return {
        "requests": decision.requests,
        "reasons": decision.reasons(),
        "metrics": [asdict(one) for one in decision.evidence],
    }
