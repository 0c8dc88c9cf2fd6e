"""What the router's own features hold at most: learners too large for a router, on the same numbers it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ruvllm.bench.routers.floors import Fit, Router, sklearn
from ruvllm.bench.routers.probes import views
from ruvllm.bench.routers.table import Floats, Table

if TYPE_CHECKING:
    from ruvllm.router.embedding_map import EmbeddingMap
    from ruvllm.router.outcome_memory import Evidence, OutcomeMemory

__all__ = ["CEILINGS"]


@dataclass(frozen=True, slots=True, eq=False)
class OnFeatures:
    """A regressor over the router's features and what the nearest questions say of each model."""

    regressor: Any
    memory: OutcomeMemory
    embedding_map: EmbeddingMap

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) predicted quality."""
        evidence = self.memory.near_many(questions.outcomes.vectors, questions.outcomes.texts)
        return np.asarray(self.regressor.predict(_shown(questions, evidence, self.embedding_map)), np.float32)


def trees(train: Table, seed: int) -> Router:
    """Predict by extremely randomised trees."""
    forest = sklearn("ensemble").ExtraTreesRegressor
    return _fitted(forest(200, min_samples_leaf=10, max_features=0.3, n_jobs=-1, random_state=seed), train, seed)


def ridge(train: Table, seed: int) -> Router:
    """Predict by ridge regression over standardised features."""
    scaled = sklearn("pipeline").make_pipeline(
        sklearn("preprocessing").StandardScaler(), sklearn("linear_model").Ridge(alpha=300.0)
    )
    return _fitted(scaled, train, seed)


def _fitted(regressor: Any, train: Table, seed: int) -> Router:
    from ruvllm.router.embedding_map import EmbeddingMap
    from ruvllm.router.outcome_memory import OutcomeMemory

    memory = OutcomeMemory.from_outcomes(train.outcomes)
    embedding_map = EmbeddingMap.fit(train.outcomes.vectors, np.random.default_rng(seed))
    shown = _shown(train, memory.near_rows(train.outcomes.texts), embedding_map)
    return OnFeatures(regressor.fit(shown, train.outcomes.quality), memory, embedding_map)


def _shown(questions: Table, evidence: Evidence, embedding_map: EmbeddingMap) -> Floats:
    """Return (n, 128 + 5 T) features, and evidence of each model."""
    from ruvllm.router.features import feature_rows

    outcomes = questions.outcomes
    values, _ = feature_rows(outcomes.texts, outcomes.vectors, evidence, embedding_map, probes=views(questions))
    names = ("near_quality", "broad_quality", "lexical_quality", "success", "count")
    return np.hstack([values, *(getattr(evidence, name) for name in names)])


CEILINGS: dict[str, Fit] = {"our features + trees": trees, "our features + ridge": ridge}
