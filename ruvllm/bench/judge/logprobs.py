"""What a small model makes of answers: the mean log-probability of their tokens, each computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ruvllm.bench.cache import Cache
from ruvllm.config import Config
from ruvllm.inference import open_engine
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.types import Message

__all__ = ["LogProbs"]

MAX_WORDS = 110  # of a question, and of an answer, that are read


class LogProbs:
    """Scores answers to a question by a local model.

    Args:
        model: a catalogue name or a model directory.
    """

    def __init__(self, model: str, cache: Cache, config: Config) -> None:
        engine = open_engine(model, config.generation, config.models)
        if not isinstance(engine, RuntimeEngine):
            raise ValueError(f"model: {model!r} must run in our own runtime to tell log-probabilities of given words")
        self.name = model
        self._engine = engine
        self._cache = cache

    def __call__(self, question: str, answers: Sequence[str]) -> list[float]:
        """Return the mean log-probability of a token of each answer, given the question."""
        question, answers = _cut(question), [_cut(answer) for answer in answers]
        kind, keys = f"logprob by {self.name}", [f"{question}\0{answer}" for answer in answers]
        known = self._cache.find(kind, keys)
        new = list(dict.fromkeys(a for a, key in zip(answers, keys, strict=True) if key not in known))
        if new:
            found = self._engine.score([Message("user", question)], new)
            values = {f"{question}\0{a}": np.float64(value).tobytes() for a, value in zip(new, found, strict=True)}
            self._cache.add(kind, values)
            known |= values
        return [float(np.frombuffer(known[key], np.float64)[0]) for key in keys]

    def close(self) -> None:
        """Free the model."""
        self._engine.close()


def _cut(text: str) -> str:
    return " ".join(text.split()[:MAX_WORDS]) or "."
