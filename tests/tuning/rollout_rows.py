"""Rows of trials as the tests of the rollout need them."""

from __future__ import annotations

import numpy as np

from ruvllm.tuning.rollout import TrialPair, TrialRow


def rows(
    n: int, quality: float, *, seed: int, latency_ms: float = 300.0, failure_rate: float = 0.0, per_session: int = 1
) -> list[TrialRow]:
    """Return `n` rows with a quality around `quality`, spread by 0.15, and lognormal latencies."""
    rng = np.random.default_rng(seed)
    qualities = np.clip(rng.normal(quality, 0.15, n), 0.0, 1.0)
    latencies = latency_ms * np.exp(rng.normal(0.0, 0.3, n))
    failed = rng.random(n) < failure_rate
    return [
        TrialRow(float(q), float(ms), bool(f), f"{seed}/{i // per_session}")
        for i, (q, ms, f) in enumerate(zip(qualities, latencies, failed, strict=True))
    ]


def pairs(n: int, control: float = 0.7, treatment: float = 0.7, **options: float) -> list[TrialPair]:
    """Return `n` pairs; `options` are those of the student's rows."""
    ours, theirs = rows(n, control, seed=1), rows(n, treatment, seed=2, **options)  # type: ignore[arg-type]
    return [TrialPair(a, b) for a, b in zip(ours, theirs, strict=True)]
