"""Small sets of outcomes that tests of the router share."""

from __future__ import annotations

import numpy as np

from ruvllm.router.outcomes import Outcomes, TierInfo

__all__ = ["DIM", "TIERS", "outcomes"]

DIM = 16
TIERS = (TierInfo("small", cost=1.0), TierInfo("middle", cost=3.0), TierInfo("large", cost=9.0))
_WORDS = (
    "river enzyme contract prime orbit guitar ledger vowel glacier theorem verb nerve tariff comet chord fossil".split()
)


def outcomes(n: int, *, seed: int = 0) -> Outcomes:
    """Return n questions around 4 topics, easier for larger tiers; one outcome in five is not known."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(4, size=n)
    vectors = (np.eye(4, DIM)[topic] + 0.3 * rng.standard_normal((n, DIM))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = tuple(" ".join(rng.choice(_WORDS[4 * t : 4 * t + 4], 3)) + f" number {i}?" for i, t in enumerate(topic))
    chance = np.array([[0.1, 0.5, 0.9], [0.9, 0.9, 0.9], [0.3, 0.3, 0.8], [0.5, 0.6, 0.7]])[topic]
    quality = (rng.random((n, 3)) < chance).astype(np.float32)
    latency_ms = (np.array([50.0, 200.0, 900.0]) * rng.lognormal(0.0, 0.2, (n, 3))).astype(np.float32)
    unknown = rng.random((n, 3)) < 0.2
    quality[unknown], latency_ms[unknown] = np.nan, np.nan
    cost, propensity = np.ones((n, 3), np.float32), np.full((n, 3), 0.8, np.float32)
    return Outcomes(TIERS, texts, vectors, quality, latency_ms, cost, propensity)
