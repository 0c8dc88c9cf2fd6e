"""A router fitted on a table of outcomes, and asked about other questions: what benches and gates judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.router.calibration import Calibration
from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import ProbeView, feature_rows
from ruvllm.router.learnt import Estimates, Learnt, estimates, tier_inputs
from ruvllm.router.model import RouterModel, sigmoid
from ruvllm.router.outcome_memory import Evidence, OutcomeMemory
from ruvllm.router.outcomes import Outcomes
from ruvllm.router.training import Lessons, TrainingConfig, judge, train

__all__ = ["FittedRouter", "as_sequences", "calibrated", "fit"]

Floats = npt.NDArray[np.float32]

HELD_OUT = 0.15  # share of the rows that stops training and calibrates
NUM_QUANTILES = 200


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


def calibrated(
    model: RouterModel, params: Floats, held_out: Lessons, quality_floor: float
) -> tuple[tuple[Calibration, ...], Calibration]:
    """Return calibrations of each tier's quality, and of the confidence, from rows that training did not see."""
    judged = judge(model, params, held_out)
    raw = sigmoid(judged.quality_logit)
    each = tuple(_platt(raw[..., i], held_out.quality[..., i]) for i in range(len(model.tiers)))
    chosen = judged.tier_logit.argmax(axis=-1)[..., np.newaxis]
    reached = np.take_along_axis(held_out.quality, chosen, axis=-1)[..., 0]
    met = np.where(np.isnan(reached), np.nan, reached >= quality_floor)
    return each, _platt(judged.confidence, met)


def _platt(confidence: npt.NDArray[np.floating], outcome: npt.NDArray[np.floating]) -> Calibration:
    known = ~np.isnan(outcome)
    if not known.any():
        return Calibration.identity()
    return Calibration.fit(confidence[known].astype(np.float64), outcome[known].astype(np.float64), "platt")


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
        features = feature_rows(texts, vectors, evidence, self.learnt.embedding_map, probes)
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
    features = feature_rows(outcomes.texts, outcomes.vectors, evidence, embedding_map, probes)
    lessons = as_sequences(outcomes, features, evidence)
    order = rng.permutation(len(outcomes))
    cut = max(2, round(HELD_OUT * len(order)))
    held_out, others = lessons.take(order[:cut]), lessons.take(order[cut:])
    model = RouterModel(outcomes.tiers)
    trained = train(model, others, held_out, config, rng, cancelled=cancelled)
    each, confidence = calibrated(model, trained.params, held_out, config.quality_floor)
    nearest = np.quantile(evidence.nearest_similarity, np.linspace(0.0, 1.0, NUM_QUANTILES)).astype(np.float32)
    known = ~np.isnan(outcomes.quality)
    mean = np.where(known.any(axis=0), np.nansum(outcomes.quality, axis=0) / np.maximum(known.sum(axis=0), 1), 0.5)
    learnt = Learnt(outcomes.tiers, trained, embedding_map, each, confidence, mean.astype(np.float32), nearest)
    return FittedRouter(learnt, memory)
