"""Questions served as a server would, with an embedder and readers that cost nothing: what is left is ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from ruvllm.inference import Cancelled, Engine, Piece
from ruvllm.types import Embedder, GenerationOptions, Message

__all__ = ["FreeEmbedder", "FreeReader", "served"]


class FreeEmbedder:
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


class FreeReader:
    """Answers with the first words of the last message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.context_tokens = 4096
        self.parameters: int | None = None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return a quarter of the letters."""
        return sum(1 + len(message.content) // 4 for message in messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        """Yield one piece."""
        text = " ".join(messages[-1].content.split()[:12])
        yield Piece(text, (-0.1,) * 12, "stop", self.count_tokens(messages), 12)

    def close(self) -> None:
        """Do nothing."""

    def lent(self) -> AbstractContextManager[Engine]:
        """Return itself, to be used in a with statement."""
        return nullcontext(self)


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
