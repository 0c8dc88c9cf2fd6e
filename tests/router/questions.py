"""Made-up questions with outcomes: whether a tier is right is told by the question's kind and by its length.

Neighbours know the kind, which words and vector tell; that the small tier fails at long questions has to be learnt.
"""

from __future__ import annotations

import numpy as np

from ruvllm.router.outcomes import Outcomes, TierInfo

TIERS = (TierInfo("small", 350_000_000, 0.2), TierInfo("large", 2_600_000_000, 1.5))
KINDS = ("capital of country", "sum of numbers", "colour of fruit", "proof of theorem")
RIGHT = ((0.95, 0.95), (0.3, 0.9), (0.9, 0.95), (0.05, 0.7))  # of small and large, by kind
DIM = 16
LONG = " Please explain it at length, step by step, and justify every single claim that you make on the way." * 3


def outcomes(n: int = 400, *, seed: int = 0) -> Outcomes:
    """Return `n` questions answered by both tiers."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(KINDS), n)
    centres = np.eye(DIM, dtype=np.float32)[: len(KINDS)]
    vectors = centres[kinds] + 0.15 * rng.standard_normal((n, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_long = rng.random(n) < 0.3
    right = np.array(RIGHT)[kinds] * np.where(is_long[:, np.newaxis], [0.1, 1.0], 1.0)
    quality = (rng.random((n, 2)) < right).astype(np.float32)
    return Outcomes(
        tiers=TIERS,
        texts=tuple(
            f"what is the {KINDS[kind]} number {rng.integers(10**6)}?" + LONG * int(long)
            for kind, long in zip(kinds, is_long, strict=True)
        ),
        vectors=vectors.astype(np.float32),
        quality=quality,
        latency_ms=np.exp(rng.normal([4.0, 6.0], 0.1, (n, 2))).astype(np.float32),
        cost=np.tile(np.array([0.2, 1.5], np.float32), (n, 1)),
        propensity=np.ones((n, 2), np.float32),
    )


def kind(number: int, m: int = 20) -> tuple[list[str], np.ndarray]:
    """Return texts and vectors of new questions of one kind."""
    rng = np.random.default_rng(1000 + number)
    vectors = np.eye(DIM, dtype=np.float32)[number] + 0.15 * rng.standard_normal((m, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [f"what is the {KINDS[number]} number {rng.integers(10**6)}?" for _ in range(m)], vectors.astype(np.float32)
