"""Versions of anything learnt: saved, promoted, rolled back; and the students, which are whole models."""

from ruvllm.checkpoints.students import Move, Serving, Student, Students
from ruvllm.checkpoints.versions import Checkpoint, Checkpoints, Saved

__all__ = ["Checkpoint", "Checkpoints", "Move", "Saved", "Serving", "Student", "Students"]
