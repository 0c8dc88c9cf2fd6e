"""Who turns text into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Text to unit vectors of the model's own dimension; those of different ids cannot be compared."""

    id: str
    native_dim: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors; empty text is a ValueError."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text is, special tokens not counted."""
        ...
