"""Elastic weight consolidation: its penalty, its Fisher matrix, and what it keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.cases import TIERS, lessons
from ruvllm.router.ewc import Consolidation, consolidate, ewc_penalty, fisher_diagonal
from ruvllm.router.model import RouterModel
from ruvllm.router.training import Lessons, TrainingConfig, judge, train

CONFIG = TrainingConfig(epochs=30, w_density=1.0, patience=30, learning_rate=3e-3, weight_decay=0.05)


def accuracy(model: RouterModel, params: np.ndarray, known: Lessons) -> float:
    """Return how often each tier's quality is put on its right side."""
    return float(((judge(model, params, known).quality_logit > 0.0) == (known.quality > 0.5)).mean())


def test_ewc_regularization_value() -> None:
    rng = np.random.default_rng(0)
    anchor, fisher = rng.normal(size=50).astype(np.float32), rng.random(50).astype(np.float32)
    assert ewc_penalty(anchor, anchor, fisher, 0.4) == 0.0
    away = anchor.copy()
    away[7] += 0.5
    assert ewc_penalty(away, anchor, fisher, 0.4) == pytest.approx(0.5 * 0.4 * fisher[7] * 0.25, rel=1e-5)
    step = np.zeros(50)
    step[7] = 1e-3
    central = (ewc_penalty(away + step, anchor, fisher, 0.4) - ewc_penalty(away - step, anchor, fisher, 0.4)) / 2e-3
    assert central == pytest.approx(0.4 * fisher[7] * 0.5, rel=1e-4)


def test_fisher_information_computation() -> None:
    model, known = RouterModel(TIERS), lessons(40)
    rng = np.random.default_rng(0)
    params = model.initial_params(rng)
    model.cell.views(params)["head_weight"][:] = rng.normal(0.0, 0.3, model.cell.layout["head_weight"][1])
    fisher = fisher_diagonal(model, params, known.features, known.inputs, np.random.default_rng(1))
    assert fisher.shape == params.shape and (fisher >= 0.0).all()
    assert fisher.mean() == pytest.approx(1.0, rel=1e-4)
    again = fisher_diagonal(model, params, known.features[::-1].copy(), known.inputs, np.random.default_rng(1))
    np.testing.assert_allclose(again, fisher, rtol=0.5, atol=5.0)  # inputs are equal for all: the order is no matter


def test_fisher_is_per_example_however_many_there_are() -> None:
    model, known = RouterModel(TIERS), lessons(20)
    params = model.initial_params(np.random.default_rng(0))
    model.cell.views(params)["head_weight"][:] = 0.1
    twice = known.take(np.tile(np.arange(20), 2))
    once, both = (
        fisher_diagonal(model, params, some.features, some.inputs, np.random.default_rng(1)) for some in (known, twice)
    )
    np.testing.assert_allclose(both, once, rtol=1e-4, atol=1e-6)


def test_fisher_of_a_head_without_input_is_its_variance() -> None:
    model, known = RouterModel(TIERS[:2]), lessons(1, tiers=2)
    params = model.initial_params(np.random.default_rng(0))
    fisher = fisher_diagonal(model, params, known.features, known.inputs, np.random.default_rng(1))
    bias = model.cell.views(fisher)["head_bias"]
    by_descriptor = np.array([0.25 * (model.describe(known.inputs)[0, 0] ** 2).sum(axis=0)])[0]
    quality = bias[: model.num_descriptors]
    np.testing.assert_allclose(quality / quality[0], by_descriptor / by_descriptor[0], rtol=1e-4)


def test_router_ewc_prevents_forgetting() -> None:
    first, second = lessons(600), lessons(600, seed=1, task=1)
    test_a, test_b = lessons(400, seed=2), lessons(400, seed=3, task=1)
    model = RouterModel(TIERS)
    a = train(model, first, test_a, CONFIG, np.random.default_rng(0))
    fisher = fisher_diagonal(model, a.params, first.features, first.inputs, np.random.default_rng(0))
    kept = consolidate(None, a.params, fisher)
    start = replace(a, first_moment=np.zeros_like(a.params), second_moment=np.zeros_like(a.params), step=0)

    def after_b(ewc_lambda: float) -> tuple[float, float]:
        config = replace(CONFIG, ewc_lambda=ewc_lambda)
        b = train(model, second, test_b, config, np.random.default_rng(1), start=start, consolidation=kept)
        return accuracy(model, b.params, test_a), accuracy(model, b.params, test_b)

    before = accuracy(model, a.params, test_a)
    (free_a, free_b), (held_a, held_b) = after_b(0.0), after_b(0.4)
    print(f"task A {before:.3f}; after B without EWC {free_a:.3f} (B {free_b:.3f}), with {held_a:.3f} (B {held_b:.3f})")
    assert before - free_a > 0.04  # there is something to forget
    assert before - held_a < 0.05
    assert held_b > accuracy(model, a.params, test_b)  # and something is learnt


def test_consolidation_is_online() -> None:
    ones = np.ones(4, np.float32)
    kept = consolidate(Consolidation(ones, np.array([4, 0, 0, 0], np.float32)), 2 * ones, ones, decay=0.5)
    np.testing.assert_array_equal(kept.anchor_params, 2 * ones)
    assert kept.fisher_diagonal.mean() == pytest.approx(1.0)
    assert kept.fisher_diagonal[0] == pytest.approx(3 * kept.fisher_diagonal[1])
