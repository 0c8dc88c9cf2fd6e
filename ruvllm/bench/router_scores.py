"""The router's own expected quality as the scores of certificates: what a brain certifies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ruvllm.bench.certificate import Recorded, Scorer
from ruvllm.router.fitted import fit
from ruvllm.router.outcomes import Outcomes, TierInfo
from ruvllm.types import Embedder

__all__ = ["by_router"]

Floats = npt.NDArray[np.float64]


def by_router(embedder: Embedder, *, seed: int = 0) -> Scorer:
    """Return what gives the quality that a router, fitted on the rows to learn from, expects of each tier."""

    def scores(recorded: Recorded, lost: Floats, taught: Sequence[int], asked: Sequence[int]) -> Floats:
        known = _outcomes(recorded, taught, embedder)
        router = fit(known, seed=seed)
        texts = [recorded.texts[i] for i in asked]
        vectors = np.asarray(embedder.encode(texts), np.float32)
        return np.asarray(router.predict(texts, vectors).quality, np.float64)

    return scores


def _outcomes(recorded: Recorded, rows: Sequence[int], embedder: Embedder) -> Outcomes:
    """Return the rows as a router learns from them."""
    texts = tuple(recorded.texts[i] for i in rows)
    cost = recorded.cost[list(rows)].astype(np.float32)
    mean_cost = cost.mean(axis=0).tolist()
    return Outcomes(
        tiers=tuple(TierInfo(name, None, price) for name, price in zip(recorded.models, mean_cost, strict=True)),
        texts=texts,
        vectors=np.asarray(embedder.encode(list(texts)), np.float32),
        quality=recorded.quality[list(rows)].astype(np.float32),
        latency_ms=np.full(cost.shape, np.nan, np.float32),
        cost=cost,
        propensity=np.ones(cost.shape, np.float32),
    )
