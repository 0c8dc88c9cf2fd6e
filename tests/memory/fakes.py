"""A small deterministic embedder (hashed words: shared words mean similar vectors), and other made-up input."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from ruvllm.memory import Memory
from ruvllm.types import Decision, Interaction, Route, TierEstimate, TierOutcome

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
"""For property tests on a busy machine."""


class WordEmbedder:
    """Implements `ruvllm.types.Embedder`: each word is a seeded random direction, a text is their normalised sum."""

    def __init__(self, dim: int = 64, id: str = "words-64") -> None:
        self.id = id
        self.native_dim = dim
        self.texts_encoded = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if any(not text.strip() for text in texts):
            raise ValueError("texts must not be empty")
        self.texts_encoded += len(texts)
        vectors = np.stack([sum(self._direction(word) for word in _words(text)) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_words(text)) for text in texts]

    def _direction(self, word: str) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.native_dim)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower()) or [text]


def interaction(id: str = "a1", **fields: Any) -> Interaction:
    """An answered request with defaults for what a test does not care about."""
    values: dict[str, Any] = {
        "query": "What is an index?",
        "answer": "A structure for search.",
        "namespace": "default",
        "session": "alice",
        "created": 1_000.0,
        "source_ids": (),
        "used_ids": (),
        "route": Route("reader", 2048, 0.0, 1.0),
        "confidence": 0.9,
        "finish_reason": "stop",
        "timings_ms": {"total": 12.5},
    }
    return Interaction(id=id, **(values | fields))


def decision(tier: str = "small", **fields: Any) -> Decision:
    """A choice between "small" and "large" by four features, of which the second did not exist."""
    values: dict[str, Any] = {
        "estimates": (
            TierEstimate("small", 0.625, 0.75, quality=0.5, latency_ms=40.0, cost=0.125),
            TierEstimate("large", 0.5, 0.25),
        ),
        "features": np.array([0.5, 0.0, -1.0, 2.0], "<f4").tobytes(),
        "present": np.packbits([True, False, True, True]).tobytes(),
        "feature_version": 1,
        "checkpoint": 3,
        "reason": "cheap enough",
        "confidence": 0.875,
    }
    return Decision(tier=tier, **(values | fields))


def routed(id: str = "a1", tier: str = "small", *, calibrates: bool = False, **fields: Any) -> Interaction:
    """An answered request that was routed to `tier`."""
    outcome = TierOutcome(tier, latency_ms=50.0, cost=0.25, tokens=7)
    return interaction(id, outcome=outcome, decision=decision(tier, calibrates=calibrates), **fields)


def unit_vectors(n: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cold(memory: Memory) -> list[int]:
    """Return the archived nodes."""
    return [node for (node,) in memory._store.rows("SELECT id FROM nodes WHERE tier = 'cold'")]
