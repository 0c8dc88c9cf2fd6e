"""Questions served as a server would, with vectors that were made before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ruvllm.types import Embedder

__all__ = ["PremadeVectors", "served"]


class PremadeVectors:
    """Gives vectors that were made before; of any other text one and the same.

    Args:
        embedder: makes them, and those of documents while `is_open`.
    """

    def __init__(self, embedder: Embedder, questions: Sequence[str]) -> None:
        self.id, self.native_dim = embedder.id, embedder.native_dim
        self.count_tokens = embedder.count_tokens
        self.is_open = True
        self._embedder = embedder
        self._known = dict(zip(questions, embedder.encode(questions), strict=True))
        self._other = np.eye(1, self.native_dim, dtype=np.float32)[0]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors."""
        if self.is_open:
            return self._embedder.encode(texts)
        return np.stack([self._known.get(text, self._other) for text in texts])


def served(serve: Callable[[int], object], arrivals: np.ndarray) -> np.ndarray:
    """Serve request i at `arrivals[i]` or as soon after as the one before is done; return how long each took, waiting
    included.

    Args:
        arrivals: (n,) seconds from the start, ascending.

    Returns:
        (n,) seconds.
    """
    took = np.empty(len(arrivals))
    start = time.perf_counter()
    for i, at in enumerate(arrivals):
        while (left := start + at - time.perf_counter()) > 0.0:
            time.sleep(left)
        serve(i)
        took[i] = time.perf_counter() - start - at
    return took
