"""What the lines of the students' log add up to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.checkpoints.student import Move, Serving, Step, Student

__all__ = ["Added", "Ledger", "Moved"]


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="added"):
    """A line: a student came."""

    at: float
    id: str
    name: str
    tier: str
    base: str
    files: dict[str, str]
    about: dict[str, Any]


class Moved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="moved"):
    """A line: students are somewhere else from now on; a rollback gives back what `in_force` had before."""

    at: float
    steps: dict[str, Step]  # id -> where it is from now on; what one decision changes is one line
    is_rollback: bool = False
    why: str
    evidence: dict[str, Any]


@dataclass(slots=True, eq=False)
class Ledger:
    """The students and who is in force, after the lines so far."""

    folder: Path
    students: dict[str, Student] = field(default_factory=dict)
    in_force: dict[str, list[str]] = field(default_factory=dict)  # tier -> ids promoted, the one in force last
    moves: list[Move] = field(default_factory=list)
    lines: int = 0

    def add(self, line: Added | Moved) -> None:
        """Take in the next line."""
        self.lines += 1
        if isinstance(line, Added):
            path = self.folder / line.name
            self.students[line.id] = Student(
                line.id, line.name, line.tier, line.base, "trained", path, line.at, self.lines, line.about, line.files
            )
            self.moves.append(
                Move(self.lines, line.at, line.id, line.name, line.tier, "", "trained", "added", line.about)
            )
            return
        for id, step in line.steps.items():
            one = self.students[id]
            self.students[id] = replace(one, step=step, since=self.lines)
            moved = Move(self.lines, line.at, id, one.name, one.tier, one.step, step, line.why, line.evidence)
            self.moves.append(moved)
            stack = self.in_force.setdefault(one.tier, [])
            if step == "promoted" and not line.is_rollback:
                stack[:] = [*(other for other in stack if other != id), id]
            elif step == "retired" and line.is_rollback:
                stack.remove(id)

    def serving(self, tier: str) -> Serving:
        """Return who answers for a tier."""
        stack = self.in_force.get(tier)
        trials = (one for one in self.students.values() if one.tier == tier and one.phase)
        return Serving(self.students[stack[-1]] if stack else None, next(trials, None))
