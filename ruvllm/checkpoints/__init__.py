"""Versions of anything learnt: saved, promoted, rolled back."""

from ruvllm.checkpoints.versions import Checkpoint, Checkpoints, Saved

__all__ = ["Checkpoint", "Checkpoints", "Saved"]
