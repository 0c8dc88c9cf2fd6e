"""What a router knows of a question before it decides: time of each part, by how many questions are logged."""

from __future__ import annotations

import os

import numpy as np

from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import RouterInputs, feature_rows, features
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.text_traits import text_traits

DIM = 384
NUM_TOPICS = 200
ASKED = 64
NUM_LOGGED = [2_000] if os.environ.get("RUVLLM_BENCH_SMALL") else [10_000, 100_000]
TIERS = (TierInfo("small", cost=1.0), TierInfo("middle", cost=3.0), TierInfo("large", cost=9.0))


def questions(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts of 20 to 60 words, frequent by Zipf's law, and unit vectors around the topics they are about."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((NUM_TOPICS, DIM), np.float32)
    topic = rng.integers(NUM_TOPICS, size=n)
    vectors = centres[topic] + rng.standard_normal((n, DIM), np.float32)
    words = np.minimum(rng.zipf(1.3, size=(n, 60)), 50_000)
    words[:, ::4] += 1_000 * (1 + topic[:, np.newaxis])  # one word in four is of the topic
    texts = [" ".join(f"w{word}" for word in row[: rng.integers(20, 61)]) + "?" for row in words]
    return texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class RouterFeatures:
    """One question at a time, three tiers; a question has 20 to 60 words."""

    param_names = ("num_logged",)
    params = (NUM_LOGGED,)
    timeout = 600

    def setup(self, num_logged: int) -> None:
        texts, vectors = questions(num_logged, seed=1)
        rng = np.random.default_rng(2)
        quality = rng.random((num_logged, 3), np.float32)
        self.memory = OutcomeMemory(TIERS, DIM)
        self.memory.extend(range(num_logged), texts, vectors, quality, 100.0 + 900.0 * quality)
        self.map = EmbeddingMap.fit(vectors, rng)
        self.texts, self.vectors = questions(ASKED, seed=3)
        self.evidence = self.memory.near_many(self.vectors, self.texts)
        self.turn = 0

    def _next(self) -> int:
        self.turn = (self.turn + 1) % ASKED
        return self.turn

    def time_text_traits(self, num_logged: int) -> None:
        text_traits(self.texts[self._next()])

    def time_near(self, num_logged: int) -> None:
        i = self._next()
        self.memory.near(self.vectors[i], self.texts[i])

    def time_features(self, num_logged: int) -> None:
        """Everything but the embedding itself: neighbours too."""
        i = self._next()
        evidence = self.memory.near(self.vectors[i], self.texts[i])
        features(RouterInputs(self.texts[i], vector=self.vectors[i], evidence=evidence), self.map)

    def time_feature_rows(self, num_logged: int) -> None:
        feature_rows(self.texts, self.vectors, self.evidence, self.map)

    def time_add(self, num_logged: int) -> None:
        i = self._next()
        self.memory.add(f"new {i}", self.texts[i], self.vectors[i], {"small": 1.0})

    def track_bytes(self, num_logged: int) -> float:
        return self.memory.nbytes

    track_bytes.unit = "bytes"  # type: ignore[attr-defined]
