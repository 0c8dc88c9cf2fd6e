"""Brains whose router answered made-up questions: what of it is logged, for tests of what reads that log."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from memory.fakes import WordEmbedder, interaction
from router.questions import TIERS, kind, outcomes

from ruvllm.checkpoints import Checkpoints
from ruvllm.memory import Memory
from ruvllm.router.features import FEATURE_VERSION, RouterInputs
from ruvllm.router.fitted import FittedRouter, fit
from ruvllm.router.policy import Policy
from ruvllm.router.router import Router
from ruvllm.types import Constraints, Interaction, TierOutcome

POLICY = Policy(quality_floor=0.6, confidence_threshold=0.2, explore=0.0, safe_default=1)
RIGHT = ((0.95, 0.95), (0.3, 0.9), (0.9, 0.95), (0.05, 0.7))  # of small and large, by kind
SETTINGS = """
[models]
tiers = ["small", "large"]
[generation]
model = "large"
[router]
quality_floor = 0.6
confidence_threshold = 0.2
"""


@cache
def fitted() -> FittedRouter:
    """What 400 questions teach."""
    return fit(outcomes())


def requests(n: int, *, explore: float = 0.4, rated: float = 1.0, seed: int = 0) -> list[Interaction]:
    """Return `n` answered requests, one a minute, that the trained router decided as its version 1."""
    router = Router(TIERS, fitted().memory, replace(POLICY, explore=explore), seed=seed)
    router.adopt(fitted().learnt, 1)
    rng = np.random.default_rng(seed)
    asked = [kind(number, n) for number in range(4)]
    found = []
    for i in range(n):
        number = int(rng.integers(4))
        text, vector = asked[number][0][i], asked[number][1][i]
        session = f"s{i // 2}" if i % 10 < 2 else None
        decision = router.decide(RouterInputs(text, vector=vector), Constraints(), session=session)
        tier = [one.tier for one in decision.estimates].index(decision.tier)
        quality = float(rng.random() < RIGHT[number][tier]) if rng.random() < rated else None
        latency, source = float(np.exp(rng.normal([4.0, 6.0][tier], 0.1))), None if quality is None else "user"
        outcome = TierOutcome(decision.tier, quality, latency, TIERS[tier].cost, source=source)  # type: ignore[arg-type]
        found.append(
            interaction(f"a{i}", query=text, session=session, created=60.0 * i, outcome=outcome, decision=decision)
        )
    return found


def brain(folder: Path, n: int, *, checkpoint: bool = True, **asked: float) -> Path:
    """Write a brain with `n` such requests, its settings and, when wanted, the checkpoint that decided."""
    with Memory(folder, embedder=WordEmbedder()) as memory:
        for one in requests(n, **asked):  # type: ignore[arg-type]
            memory.record(one)
    (folder / "ruvllm.toml").write_text(SETTINGS, encoding="utf-8")
    if checkpoint:
        learnt = fitted().learnt
        versions = Checkpoints(folder / "checkpoints" / "router", form=f"router-{FEATURE_VERSION}")
        versions.save(learnt.trained.params, learnt.about(), learnt.arrays())
    return folder
