"""From a validated student to a model in service: a trial that may be looked at after every request."""

from ruvllm.tuning.rollout.decision import (
    ABDecision,
    ABMetrics,
    ABTestResults,
    Action,
    Evidence,
    TrialPair,
    TrialRow,
    evaluate_canary,
    evaluate_shadow,
)
from ruvllm.tuning.rollout.report import RolloutReport, rollout_report

__all__ = [
    "ABDecision",
    "ABMetrics",
    "ABTestResults",
    "Action",
    "Evidence",
    "RolloutReport",
    "TrialPair",
    "TrialRow",
    "evaluate_canary",
    "evaluate_shadow",
    "rollout_report",
]
