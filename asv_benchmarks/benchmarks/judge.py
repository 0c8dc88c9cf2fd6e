"""What judging one answer costs: its signals with the embedder at no cost, and with the real one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ruvllm.config import EmbeddingConfig, ModelsConfig
from ruvllm.embedding import open_embedder
from ruvllm.judging import Answered
from ruvllm.learning.judge import Judge
from ruvllm.types import Source

SENTENCE = "The rescue sled of station number {} is kept in hut {}, next to the fuel store, where nobody looks for it."
DIM = 384


def case() -> Answered:
    """Return an answer to five sources of five sentences each."""
    texts = [" ".join(SENTENCE.format(s, i) for i in range(5)) for s in range(5)]
    sources = tuple(Source(i, i, None, f"Station {i}", text, 1.0) for i, text in enumerate(texts, 1))
    vector = np.full(DIM, DIM**-0.5, np.float32)
    return Answered("Where is the rescue sled of station 3 kept?", vector, "In hut 4.", sources, (-0.1, -0.2), "stop")


class JudgeAnswer:
    """One answer of five words to five sources."""

    param_names = ("embedder",)
    params = ("none", "minilm-l6")

    def setup(self, embedder: str) -> None:
        self.answered = case()
        encode = open_embedder(EmbeddingConfig(), ModelsConfig()).encode if embedder != "none" else _ones
        self.judge = Judge(encode, lambda terms: np.ones(len(terms)))
        self.judge.judge(self.answered)

    def time_judge(self, embedder: str) -> None:
        self.judge.judge(self.answered)


def _ones(texts: Sequence[str]) -> np.ndarray:
    return np.full((len(texts), DIM), DIM**-0.5, np.float32)
