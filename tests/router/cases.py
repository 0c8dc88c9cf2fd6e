"""Small tables of outcomes with a planted rule, for tests of the router."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ruvllm.router.model import TierInputs
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.training import Lessons

TIERS = (
    TierInfo("350m", 350_000_000, 0.35),
    TierInfo("700m", 700_000_000, 0.7),
    TierInfo("1.2b", 1_200_000_000, 1.2),
    TierInfo("2.6b", 2_600_000_000, 2.6),
)


def lessons(n: int = 400, *, seed: int = 0, steps: int = 1, shift: int = 0, task: int = 0, tiers: int = 4) -> Lessons:
    """Return lessons whose feature `shift` says how hard a question is: a tier is right when it is larger than that.

    The rule is all there is to learn: the evidence says the same of every question. In task 1 the rule is the opposite,
    and feature 9 says which task it is.
    """
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, steps, 128)).astype(np.float32)
    features[..., 9] = 2.0 * task - 1.0
    hardness = (1 - 2 * task) * features[..., shift]
    bars = np.linspace(-0.8, 1.6, tiers)
    quality = (hardness[..., np.newaxis] < bars).astype(np.float32)
    shape = quality.shape
    inputs = TierInputs(
        quality=np.full(shape, 0.5, np.float32),
        latency_ms=np.full(shape, 100.0, np.float32),
        evidence=np.zeros((*shape, 5), np.float32),
    )
    latency = np.exp(rng.normal(np.linspace(4.0, 6.0, tiers), 0.2, shape)).astype(np.float32)
    return Lessons(
        features=features,
        inputs=inputs,
        quality=quality,
        latency_ms=latency,
        cost=np.broadcast_to(np.linspace(0.13, 1.0, tiers, dtype=np.float32), shape).copy(),
        propensity=np.ones(shape, np.float32),
        context_label=np.full((n, steps), -1, np.int64),
    )


def with_missing(known: Lessons, rng: np.random.Generator) -> Lessons:
    """Return the lessons with one tier tried on each turn, drawn evenly."""
    tried = rng.integers(0, known.quality.shape[-1], known.quality.shape[:-1])
    is_tried = np.arange(known.quality.shape[-1]) == tried[..., np.newaxis]
    return replace(
        known,
        quality=np.where(is_tried, known.quality, np.nan).astype(np.float32),
        latency_ms=np.where(is_tried, known.latency_ms, np.nan).astype(np.float32),
        propensity=np.full(known.quality.shape, 1.0 / known.quality.shape[-1], np.float32),
    )
