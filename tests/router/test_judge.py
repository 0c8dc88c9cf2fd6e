"""One question judged in plain floats against the arrays that judge many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.questions import DIM, TIERS, kind, outcomes
from ruvllm.router.calibration import Calibration
from ruvllm.router.features import RouterInputs, features
from ruvllm.router.fitted import FittedRouter, fit
from ruvllm.router.learnt import Learnt, estimates, tier_inputs
from ruvllm.router.model import TierInputs


@pytest.fixture(scope="module")
def fitted() -> FittedRouter:
    """What 400 questions teach."""
    return fit(outcomes())


def agrees(learnt: Learnt, values: np.ndarray, told: TierInputs, nearest: float) -> None:
    state = np.linspace(-0.5, 0.5, 64, dtype=np.float32)
    many_state, judged = learnt.model.step(values, state, told)
    many = estimates(learnt, judged, np.float32(nearest))
    one_state, one = learnt.judge(values, state, told, nearest)
    np.testing.assert_array_equal(one_state, many_state)
    np.testing.assert_allclose(one.quality, many.quality, atol=1e-6)
    np.testing.assert_allclose(one.latency_ms, many.latency_ms, rtol=1e-5)
    np.testing.assert_allclose(one.confidence, many.confidence * many.familiarity, atol=1e-6)


@pytest.mark.parametrize("number", range(4))
def test_one_question_is_judged_as_one_of_many(fitted: FittedRouter, number: int) -> None:
    for text, vector in zip(*kind(number), strict=True):
        evidence = fitted.memory.near(vector, text)
        made = features(RouterInputs(text, vector=vector, evidence=evidence), fitted.learnt.embedding_map)
        agrees(fitted.learnt, made.values, tier_inputs(evidence, TIERS), float(evidence.nearest_similarity))


@pytest.mark.parametrize("nearest", [-1.0, 0.0, 0.6, 1.0])
@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
def test_extremes_are_judged_alike(fitted: FittedRouter, quality: float, nearest: float) -> None:
    told = TierInputs(
        np.full(2, quality, np.float32), np.array([1e-3, 1e7], np.float32), np.full((2, 5), -2.0, np.float32)
    )
    for values in (np.full(128, 4.0, np.float32), np.full(128, -4.0, np.float32)):
        agrees(fitted.learnt, values, told, nearest)


@pytest.mark.parametrize("kind", ["identity", "temperature", "isotonic"])
def test_every_calibration_is_followed(fitted: FittedRouter, kind: str) -> None:
    rng = np.random.default_rng(0)
    score = rng.random(200)
    other = Calibration.fit(score, (rng.random(200) < score**2).astype(float), kind)  # type: ignore[arg-type]
    learnt = replace(fitted.learnt, calibrations=(other, other), confidence=other)
    evidence = fitted.memory.near(np.eye(DIM, dtype=np.float32)[0], "what is the sum?")
    agrees(learnt, np.zeros(128, np.float32), tier_inputs(evidence, TIERS), 0.9)
