"""Whether a student is as good as its baseline on questions that it was not trained on."""

from ruvllm.tuning.validation.answers import Answer, is_refusal
from ruvllm.tuning.validation.holdout import HoldoutDataset, HoldoutItem, is_held_out
from ruvllm.tuning.validation.metrics import Judge, Metrics, metrics_of
from ruvllm.tuning.validation.result import Gate, Limits, ValidationResult
from ruvllm.tuning.validation.run import WINDOW_TOKENS, WINDOWS, validate, validate_engines

__all__ = [
    "WINDOWS",
    "WINDOW_TOKENS",
    "Answer",
    "Gate",
    "HoldoutDataset",
    "HoldoutItem",
    "Judge",
    "Limits",
    "Metrics",
    "ValidationResult",
    "is_held_out",
    "is_refusal",
    "metrics_of",
    "validate",
    "validate_engines",
]
