"""ParetoBandit as a floor: the package `paretobandit` with its own settings, on the features of our LinUCB."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from ruvllm.bench.routers.floors import Router
from ruvllm.bench.routers.linucb import COMPONENTS, components
from ruvllm.bench.routers.table import Floats, Table

__all__ = ["ParetoBandit", "pareto_bandit"]


@dataclass(frozen=True, slots=True, eq=False)
class ParetoBandit:
    """Its router, asked what it expects each model to earn."""

    router: Any
    axes: Floats
    mean: Floats

    def context(self, questions: Table) -> Floats:
        """Return (m, d) contexts: principal components and a constant."""
        projected = (questions.outcomes.vectors - self.mean) @ self.axes.T
        return np.hstack([projected, np.ones((len(questions), 1))]).astype(np.float32)

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) expected rewards."""
        bandit, names = self.router.bandit, questions.names
        expected = [[bandit.get_expected_reward(name, x) for name in names] for x in self.context(questions)]
        return np.array(expected, np.float32)


def pareto_bandit(train: Table, seed: int) -> Router:
    """Learn from every model's answer to every question, in random order, and forget none, as nothing drifts here."""
    package = importlib.import_module("pareto_bandit")
    service = importlib.import_module("pareto_bandit.feature_service").FeatureService
    logging.getLogger("pareto_bandit").setLevel(logging.ERROR)  # it reports on every router made
    axes, mean = components(train.outcomes.vectors, COMPONENTS)
    costs = {tier.name: tier.cost * 1000.0 for tier in train.outcomes.tiers}  # of answers of about 1 000 tokens
    registry = {name: {"input_cost_per_m": cost, "output_cost_per_m": cost} for name, cost in costs.items()}
    features = service.for_precomputed(dimension=len(axes) + 1)
    router = package.BanditRouter.create(
        model_registry=registry, priors="none", feature_service=features, forgetting_factor=1.0, bandit_seed=seed
    )
    peer = ParetoBandit(router, axes, mean)
    contexts = peer.context(train)
    for i in np.random.default_rng(seed).permutation(len(train)):
        for name, reward in zip(train.names, train.outcomes.quality[i], strict=True):
            router.update(name, contexts[i], float(reward))
    return peer
