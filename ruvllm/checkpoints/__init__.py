"""Versions of anything learnt: saved, promoted, rolled back; and the students, which are whole models."""

from ruvllm.checkpoints.student import Move, Phase, Serving, Step, Student
from ruvllm.checkpoints.students import Students, students_of
from ruvllm.checkpoints.versions import Checkpoint, Checkpoints, Saved, digest_of

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Move",
    "Phase",
    "Saved",
    "Serving",
    "Step",
    "Student",
    "Students",
    "digest_of",
    "students_of",
]
