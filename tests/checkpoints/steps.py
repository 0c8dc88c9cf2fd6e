"""Students that have come some way: what tests of serving begin with."""

from __future__ import annotations

from pathlib import Path

from ruvllm.checkpoints import Student, Students

EVIDENCE = {"accuracy": 0.9}


def in_shadow(students: Students, model_dir: Path, tier: str) -> Student:
    """Return a student that is in the shadow phase."""
    id = students.add(model_dir, base=tier, tier=tier).id
    students.move(id, "validated", evidence=EVIDENCE)
    return students.move(id, "shadow")


def in_canary(students: Students, model_dir: Path, tier: str) -> Student:
    """Return a student that is in the canary phase."""
    return students.move(in_shadow(students, model_dir, tier).id, "canary")


def promoted(students: Students, model_dir: Path, tier: str) -> Student:
    """Return a student that answers for its tier."""
    return students.promote(in_canary(students, model_dir, tier).id)
