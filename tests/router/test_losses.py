"""Losses and their gradients: checked by central differences, and deaf to what is missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ruvllm.router import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.0, 1.5, (5, 3))
QUALITY = RNG.random((5, 3))
LOSSES: dict[str, Callable[[np.ndarray], tuple[float, np.ndarray]]] = {
    "binary": lambda z: losses.binary_loss(z, QUALITY),
    "difference": lambda z: losses.difference_loss(z, QUALITY),
    "quantile": lambda z: losses.quantile_loss(z, 1.0 + QUALITY),
    "class": lambda z: losses.class_loss(z, np.array([0, 2, 1, 1, -1])),
    "policy": lambda z: losses.policy_loss(z, QUALITY, entropy_weight=0.1),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_match_central_differences(name: str) -> None:
    gradient = LOSSES[name](LOGITS)[1]
    for i, j in np.ndindex(LOGITS.shape):
        step = np.zeros_like(LOGITS)
        step[i, j] = 1e-5
        central = (LOSSES[name](LOGITS + step)[0] - LOSSES[name](LOGITS - step)[0]) / 2e-5
        assert gradient[i, j] == pytest.approx(central, abs=1e-5)


@pytest.mark.parametrize("loss", [losses.binary_loss, losses.difference_loss, losses.quantile_loss])
def test_a_missing_outcome_counts_nothing(loss: Callable[..., tuple[float, np.ndarray]]) -> None:
    value, gradient = loss(LOGITS, np.full((5, 3), np.nan))
    assert value == 0.0 and not gradient.any()


def test_the_doubly_robust_value_is_unbiased_even_with_a_wrong_model() -> None:
    rng = np.random.default_rng(1)
    truth, propensity = np.array([0.2, 0.6]), np.array([0.25, 0.75])
    tried = rng.choice(2, 20_000, p=propensity)
    observed = np.where(np.arange(2) == tried[:, np.newaxis], truth, np.nan)
    value = losses.doubly_robust(np.full((20_000, 2), 0.9), observed, np.broadcast_to(propensity, observed.shape))
    np.testing.assert_allclose(value.mean(axis=0), truth, atol=0.03)
