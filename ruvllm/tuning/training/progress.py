"""How far a training is, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ruvllm.errors import RuvLLMError

__all__ = [
    "EndedBy",
    "MustStop",
    "OnProgress",
    "PhaseReport",
    "RunDropped",
    "TrainProgress",
    "TrainingDiverged",
    "TrainingStopped",
]

EndedBy = Literal["steps", "held-out loss", "budget"]
MustStop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """One step of a training. `loss` is of that step, `held_out_loss` the last one measured, None before the first."""

    phase: Literal["sft", "dpo", "merge", "convert"]
    step: int = 0
    steps: int = 0
    loss: float | None = None
    held_out_loss: float | None = None


OnProgress = Callable[[TrainProgress], None]


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """One phase that came to its end: losses on held-out examples before and after it, None where there were none.

    `too_long` counts examples that were left out for their length; `seconds` are those of all its runs.
    """

    name: Literal["sft", "dpo"]
    examples: int
    held_out: int
    too_long: int
    steps: int
    loss: float
    before_loss: float | None
    held_out_loss: float | None
    ended_by: EndedBy
    seconds: float


class TrainingStopped(RuvLLMError):
    """A training was told to stop; what it learnt is in `folder`, where it goes on when it is started again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"training stopped; it goes on from {folder} with resume")
        self.folder = folder


class TrainingDiverged(ValueError):
    """The loss of a training is no number any more: its learning rate is too high."""


class RunDropped(RuvLLMError):
    """What a run was made of does not hold any more: it was forgotten, revoked or changed. Nothing of it is left."""

    def __init__(self) -> None:
        super().__init__("what this run was made of was forgotten, revoked or changed meanwhile; start it again")
