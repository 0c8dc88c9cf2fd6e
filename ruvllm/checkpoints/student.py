"""What a student is: a model that was trained from what a brain saw, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["NEXT", "STEPS", "Move", "Phase", "Serving", "State", "Step", "Student"]

State = Literal["trained", "validated", "canary", "promoted", "retired"]
Phase = Literal["", "shadow", "canary"]
Step = Literal["trained", "validated", "shadow", "canary", "promoted", "retired"]
"""Where a student is: its state, where "canary" is told apart into its phases."""

NEXT: Mapping[str, tuple[Step, ...]] = {
    "trained": ("validated", "retired"),
    "validated": ("shadow", "retired"),
    "shadow": ("canary", "retired"),
    "canary": ("promoted", "retired"),
    "promoted": (),  # only `rollback`, or a successor, ends it
    "retired": ("validated",),
}
STEPS = tuple(NEXT)


@dataclass(frozen=True, slots=True)
class Student:
    """One student: `id` is made of its files, `name` is that of its directory, `tier` is the model it stands in for.

    `base` is what it was trained from, `about` what was said when it was added, `files` the sha256 of each file, and
    `created` when it was added, in seconds since 1970. `since` is the number of the line of the log that put it where
    it is: another one each time.
    """

    id: str
    name: str
    tier: str
    base: str
    step: Step
    path: Path
    created: float
    since: int
    about: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def state(self) -> State:
        """The state, in which both phases of a trial are "canary"."""
        return "canary" if self.step == "shadow" else self.step

    @property
    def phase(self) -> Phase:
        """The phase of its trial, "" when it is not on trial."""
        return self.step if self.step == "shadow" or self.step == "canary" else ""


@dataclass(frozen=True, slots=True)
class Serving:
    """Who answers for a tier: the promoted student in its place, and the one that is on trial beside it."""

    promoted: Student | None = None
    trial: Student | None = None

    @property
    def phase(self) -> Phase:
        """The phase of the trial, "" without one."""
        return self.trial.phase if self.trial is not None else ""


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happened: a student came (`before` is "") or changed, when, and why; `line` is that of the log."""

    line: int
    at: float
    id: str
    name: str
    tier: str
    before: Step | Literal[""]
    after: Step
    why: str
    evidence: Mapping[str, Any]
