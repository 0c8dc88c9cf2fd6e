"""A whole system whose models cost nothing: what is left to measure is everything else."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ruvllm.bench.quoting import open_quoting, with_quoting
from ruvllm.config import Config
from ruvllm.system import RuvLLM

__all__ = ["FreeEmbedder", "open_zero_cost"]

_WORD = re.compile(r"\w+")
_DIRECTIONS = 4096


class FreeEmbedder:
    """Sums a fixed random direction for each word, some 40 us a sentence.

    Args:
        keeps: whether texts are remembered, so that the second time costs next to nothing.
    """

    id = "free-words-384"
    native_dim = 384

    def __init__(self, *, keeps: bool = False) -> None:
        self._directions = np.random.default_rng(0).standard_normal((_DIRECTIONS, self.native_dim), np.float32)
        self._known: dict[str, np.ndarray] | None = {} if keeps else None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors."""
        return np.stack([self._of(text) for text in texts])

    def _of(self, text: str) -> np.ndarray:
        if self._known is None:
            return self._sum(text)
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._sum(text)
        return known

    def _sum(self, text: str) -> np.ndarray:
        words = [zlib.crc32(word.encode()) % _DIRECTIONS for word in _WORD.findall(text.lower())] or [0]
        total = self._directions[words].sum(axis=0)
        return np.asarray(total / np.linalg.norm(total), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many words each text is."""
        return [len(_WORD.findall(text)) for text in texts]


def open_zero_cost(path: Path, config: Config, embedder: FreeEmbedder | None = None) -> RuvLLM:
    """Open a brain with an embedder and a reader that cost nothing."""
    return RuvLLM(path, config=with_quoting(config), embedder=embedder or FreeEmbedder(), open_engine=open_quoting)
