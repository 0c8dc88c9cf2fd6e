"""Calibration finds the map it was given, and never turns an order round."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.calibration import RIDGE, Calibration, Kind, isotonic
from ruvllm.router.measures import brier, ece

Rows = tuple[np.ndarray, np.ndarray]

DENSE_X = np.linspace(0.0, 1.0, 777)


def logistic(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


@pytest.fixture
def overconfident() -> Rows:
    """Confidences whose logits are twice what the outcomes bear out."""
    rng = np.random.default_rng(0)
    z = rng.normal(0.0, 1.5, 4000)
    return logistic(2.0 * z), (rng.random(4000) < logistic(z)).astype(float)


def test_temperature_recovers_the_factor(overconfident: Rows) -> None:
    assert Calibration.fit(*overconfident).x[0] == pytest.approx(2.0, rel=0.1)


def test_temperature_is_where_the_likelihood_is_flat(overconfident: Rows) -> None:
    confidence, outcome = overconfident
    z = np.log(confidence / (1.0 - confidence))
    p = Calibration.fit(confidence, outcome).apply(confidence)
    assert ((p - outcome) * z).mean() == pytest.approx(0.0, abs=1e-6)


def test_platt_meets_both_likelihood_equations(overconfident: Rows) -> None:
    confidence, outcome = overconfident
    outcome = np.minimum(outcome + 0.2, 1.0)
    z = np.log(confidence / (1.0 - confidence))
    fitted = Calibration.fit(confidence, outcome, "platt")
    error = fitted.apply(confidence) - outcome
    pulled = RIDGE * np.array([fitted.x[0] - 1.0, fitted.y[0]])
    assert np.abs(np.array([(error * z).sum(), error.sum()]) + pulled).max() < 1e-5 * len(z)


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
def test_calibrated_confidence_is_nearer_to_new_outcomes(overconfident: Rows, kind: Kind) -> None:
    confidence, outcome = overconfident
    fitted = Calibration.fit(confidence[::2], outcome[::2], kind).apply(confidence[1::2])
    assert brier(fitted, outcome[1::2]) < brier(confidence[1::2], outcome[1::2])
    assert ece(fitted, outcome[1::2]) < 0.6 * ece(confidence[1::2], outcome[1::2])


def test_isotonic_steps_are_the_nearest_ones() -> None:
    x = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    at, height = isotonic(x, np.array([0.0, 0.9, 0.3, 0.6, 1.0]))
    assert np.interp(x, at, height) == pytest.approx([0.0, 0.6, 0.6, 0.6, 1.0])


def test_isotonic_equals_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(1)
    x, y = np.round(rng.random(500), 2), rng.random(500)
    expected = sklearn.IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(DENSE_X)
    assert np.interp(DENSE_X, *isotonic(x, y)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["identity", "temperature", "platt", "isotonic"])
def test_order_and_range_are_kept_even_when_the_score_misleads(kind: Kind) -> None:
    confidence = np.linspace(0.0, 1.0, 50)
    p = Calibration.fit(confidence, confidence[::-1], kind).apply(confidence)
    assert (np.diff(p) >= 0.0).all() and p.min() >= 0.0 and p.max() <= 1.0


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_that_are_all_the_same_stay_finite(kind: Kind, outcome: float) -> None:
    calibration = Calibration.fit(np.array([0.2, 0.7]), np.full(2, outcome), kind)
    assert np.isfinite(calibration.apply(np.array([0.0, 0.5, 1.0]))).all()


@pytest.mark.parametrize("kind", ["identity", "temperature", "platt", "isotonic"])
def test_a_calibration_survives_being_written(overconfident: Rows, kind: Kind) -> None:
    calibration = Calibration.fit(*overconfident, kind)
    again = Calibration.from_dict(calibration.to_dict())
    assert again.apply(DENSE_X).tolist() == calibration.apply(DENSE_X).tolist()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": "magic", "x": [1.0], "y": []},
        {"kind": "temperature", "x": [-1.0], "y": []},
        {"kind": "temperature", "x": [float("nan")], "y": []},
        {"kind": "isotonic", "x": [0.1, 0.2], "y": [0.9, 0.1]},
        {"kind": "isotonic", "x": [], "y": []},
    ],
)
def test_what_is_not_a_calibration_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fields"):
        Calibration.from_dict(fields)


def test_outcomes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="outcome"):
        Calibration.fit(np.array([0.5]), np.array([1.5]))
    with pytest.raises(ValueError, match="kind"):
        Calibration.fit(np.array([0.5]), np.array([1.0]), "magic")  # type: ignore[arg-type]
