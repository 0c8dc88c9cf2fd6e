"""Answers of a reader to a bench's questions, each prompt read once and kept on disk."""

from __future__ import annotations

import msgspec
import numpy as np

from ruvllm.bench.cache import Cache
from ruvllm.bench.evaluation import Asked
from ruvllm.config import Config
from ruvllm.context import build_prompt
from ruvllm.inference import complete, open_engine
from ruvllm.pipeline import SMALL_READER_SENTENCES, default_context, is_small
from ruvllm.types import Embedder, GenerationOptions, Hit

__all__ = ["Reader", "no_reader"]

OPTIONS = GenerationOptions(max_new_tokens=48)


def no_reader(asked: Asked, places: np.ndarray) -> str:
    """Answer nothing."""
    return ""


class Reader:
    """A reader that answers from the shown candidates.

    Args:
        model: as `ruvllm.open(model=...)` takes it.
    """

    def __init__(self, model: str, embedder: Embedder, cache: Cache, config: Config) -> None:
        section = msgspec.structs.replace(config.generation, model=model)
        self._engine = open_engine(model, section, config.models)
        self._embedder = embedder
        self._cache = cache
        self._config = config

    def __call__(self, asked: Asked, places: np.ndarray) -> str:
        """Return the answer to a question from these candidates."""
        engine, question = self._engine, asked.question.question
        prompt = build_prompt(
            question,
            [Hit(asked.nodes[i], 1.0) for i in places],
            (),
            count_tokens=engine.count_tokens,
            relevance=lambda texts: self._embedder.encode(texts) @ asked.vector,
            budget_tokens=default_context(question, engine, OPTIONS, self._config.generation.context_tokens),
            max_sources=len(places),
            max_sentences=SMALL_READER_SENTENCES if is_small(engine) else None,
            duplicate_similarity=self._config.retrieval.duplicate_similarity,
        )
        kind, key = f"answer by {engine.name}", msgspec.json.encode(prompt.messages).decode()
        known = self._cache.find(kind, [key])
        if key not in known:
            known = {key: complete(engine, prompt.messages, OPTIONS).text.encode()}
            self._cache.add(kind, known)
        return known[key].decode()

    def close(self) -> None:
        """Free the model."""
        self._engine.close()
