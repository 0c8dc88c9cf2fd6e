"""A router fitted on a table of outcomes, and asked about other questions: what benches and gates judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import ProbeView, feature_rows
from ruvllm.router.learn import learn
from ruvllm.router.learnt import Estimates, Learnt, estimates, tier_inputs
from ruvllm.router.outcome_memory import Evidence, OutcomeMemory
from ruvllm.router.outcomes import Outcomes
from ruvllm.router.training import Lessons, TrainingConfig

__all__ = ["FittedRouter", "as_sequences", "fit"]

Floats = npt.NDArray[np.float32]


def as_sequences(outcomes: Outcomes, features: Floats, evidence: Evidence) -> Lessons:
    """Return the rows as sequences of one turn each; features (n, 128), evidence of n questions."""
    inputs = tier_inputs(evidence, outcomes.tiers)
    dearest = max((tier.cost for tier in outcomes.tiers), default=0.0) or 1.0
    priced = np.array([tier.cost for tier in outcomes.tiers], np.float32)
    cost = np.where(np.isnan(outcomes.cost), priced, outcomes.cost) / dearest
    return Lessons(
        features=features[:, np.newaxis],
        inputs=type(inputs)(*(getattr(inputs, name)[:, np.newaxis] for name in inputs.__slots__)),
        quality=outcomes.quality[:, np.newaxis],
        latency_ms=outcomes.latency_ms[:, np.newaxis],
        cost=np.minimum(cost, 10.0).astype(np.float32)[:, np.newaxis],
        propensity=outcomes.propensity[:, np.newaxis],
        context_label=np.full((len(outcomes), 1), -1, np.int64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class FittedRouter:
    """A router and the outcomes it remembers."""

    learnt: Learnt
    memory: OutcomeMemory

    def predict(self, texts: Sequence[str], vectors: Floats, probes: Sequence[ProbeView] | None = None) -> Estimates:
        """Return estimates, with a first axis of m, for questions that the memory does not hold.

        Args:
            vectors: (m, native_dim) float32 unit rows.
            probes: the smallest tier's view of each question, where it was fitted with such.
        """
        evidence = self.memory.near_many(vectors, texts)
        features, _ = feature_rows(texts, vectors, evidence, self.learnt.embedding_map, probes=probes)
        inputs = tier_inputs(evidence, self.learnt.tiers)
        _, outputs = self.learnt.model.cell.step_batch(
            features, np.zeros((len(features), self.learnt.model.cell.hidden_size), np.float32)
        )
        judged = self.learnt.model.read(outputs, inputs)
        return estimates(self.learnt, judged, evidence.nearest_similarity)


def fit(
    outcomes: Outcomes,
    *,
    seed: int = 0,
    probes: Sequence[ProbeView] | None = None,
    config: TrainingConfig | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> FittedRouter:
    """Return a router that learnt from these outcomes; the same for the same seed.

    The evidence of a row is what all other rows say, as it is for a question that comes later.

    Raises:
        ValueError: there are fewer than two tiers or twenty rows.
    """
    if len(outcomes.tiers) < 2:
        raise ValueError(f"outcomes must be of at least two tiers ({len(outcomes.tiers)}): with one, it always answers")
    if len(outcomes) < 20:
        raise ValueError(f"outcomes must have at least 20 rows ({len(outcomes)})")
    config = config or TrainingConfig()
    rng = np.random.default_rng(seed)
    memory = OutcomeMemory.from_outcomes(outcomes)
    embedding_map = EmbeddingMap.fit(outcomes.vectors, rng)
    evidence = memory.near_rows(outcomes.texts)
    features, _ = feature_rows(outcomes.texts, outcomes.vectors, evidence, embedding_map, probes=probes)
    lessons = as_sequences(outcomes, features, evidence)
    learnt = learn(
        outcomes.tiers, lessons, embedding_map, evidence.nearest_similarity, config, rng, cancelled=cancelled
    )
    return FittedRouter(learnt, memory)
