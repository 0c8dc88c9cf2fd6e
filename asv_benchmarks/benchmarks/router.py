"""The router that learns: a decision with and without its features, training, memory; peers on the same questions."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from ruvllm.bench.routers.linucb import COMPONENTS, LinUCB, components
from ruvllm.router.features import RouterInputs
from ruvllm.router.fitted import FittedRouter, fit
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.outcomes import Outcomes, TierInfo
from ruvllm.router.policy import Policy
from ruvllm.router.router import Router
from ruvllm.router.training import TrainingConfig
from ruvllm.types import Constraints

from .router_features import ASKED, NUM_LOGGED, questions

IS_SMALL = bool(os.environ.get("RUVLLM_BENCH_SMALL"))
NUM_TAUGHT = 200 if IS_SMALL else 2_000
EPOCHS = 3 if IS_SMALL else TrainingConfig().epochs
TIERS = tuple(TierInfo(f"{b} B", int(b * 1e9), cost=b) for b in (0.135, 0.5, 1.5, 7.0))


def outcomes(n: int) -> Outcomes:
    """Return `n` questions that all tiers answered; the larger the tier, the oftener right."""
    texts, vectors = questions(n, seed=1)
    rng = np.random.default_rng(2)
    quality = (rng.random((n, len(TIERS))) < np.linspace(0.3, 0.9, len(TIERS))).astype(np.float32)
    latency_ms = rng.lognormal(np.linspace(4.0, 7.0, len(TIERS)), 0.3, quality.shape).astype(np.float32)
    cost = np.full_like(quality, [tier.cost for tier in TIERS])
    return Outcomes(TIERS, tuple(texts), vectors, quality, latency_ms, cost, np.ones_like(quality))


def taught() -> FittedRouter:
    """Return what `NUM_TAUGHT` outcomes teach; quickly, as what it learnt changes no time."""
    return fit(outcomes(NUM_TAUGHT), config=TrainingConfig(epochs=3))


def router_of(fitted: FittedRouter, memory: OutcomeMemory) -> Router:
    router = Router(TIERS, memory, Policy(safe_default=len(TIERS) - 1))
    router.adopt(fitted.learnt, 1)
    return router


class Decision:
    """From features to a tier, four tiers: a step of the network, heads, calibration and policy."""

    def setup(self) -> None:
        fitted = taught()
        self.router = router_of(fitted, fitted.memory)
        self.in_force = self.router._in_force
        texts, vectors = questions(ASKED, seed=3)
        evidence = fitted.memory.near(vectors[0], texts[0])
        inputs = RouterInputs(texts[0], vector=vectors[0], evidence=evidence)
        self.seen = self.router._see(self.in_force, inputs)
        table = outcomes(NUM_TAUGHT)
        self.peer = LinUCB(*components(table.vectors, COMPONENTS), len(TIERS))
        contexts = self.peer.context(table.vectors)
        for i, row in enumerate(table.quality):
            for arm, reward in enumerate(row):
                self.peer.update(arm, contexts[i], float(reward))
        self.context = contexts[:1]

    def time_decision(self) -> None:
        _, expected = self.router._judge(self.in_force, self.seen, None)
        self.router._choose(self.in_force, expected, None, Constraints())

    def time_linucb(self) -> None:
        """The peer, from a context that is ready."""
        self.peer.bounds(self.context).argmax()


class DecisionWithFeatures:
    """From text and embedding to a tier, by how many outcomes are logged."""

    param_names = ("num_logged",)
    params = (NUM_LOGGED,)
    timeout = 600

    def setup(self, num_logged: int) -> None:
        logged = outcomes(num_logged)
        self.memory = OutcomeMemory.from_outcomes(logged)
        self.router = router_of(taught(), self.memory)
        texts, vectors = questions(ASKED, seed=3)
        self.asked = [RouterInputs(text, vector=vector) for text, vector in zip(texts, vectors, strict=True)]
        self.turn = 0

    def _next(self) -> RouterInputs:
        self.turn = (self.turn + 1) % ASKED
        return self.asked[self.turn]

    def time_decide(self, num_logged: int) -> None:
        self.router.decide(self._next(), Constraints())

    def time_features(self, num_logged: int) -> None:
        """What of it comes before the decision, neighbours too."""
        asked = self._next()
        evidence = self.memory.near(asked.vector, asked.text)  # type: ignore[arg-type]
        self.router._see(self.router._in_force, replace(asked, evidence=evidence))

    def track_bytes(self, num_logged: int) -> int:
        return self.memory.nbytes

    track_bytes.unit = "bytes"  # type: ignore[attr-defined]


class Training:
    """Features of every row from all others, the network in all epochs, calibration; from an empty memory."""

    timeout = 600
    number = 1

    def setup(self) -> None:
        self.outcomes = outcomes(NUM_TAUGHT)

    def time_fit(self) -> None:
        fit(self.outcomes, config=TrainingConfig(epochs=EPOCHS))
