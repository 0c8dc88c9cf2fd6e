"""The router's network: its heads, its state, its gradients, and tiers that join."""

from __future__ import annotations

import numpy as np
import pytest

from router.cases import TIERS, lessons
from ruvllm.kernels import keep_largest
from ruvllm.router.losses import softmax
from ruvllm.router.model import CONTEXT_BINS, RouterModel, TierInputs, descriptors, prior_quality, sigmoid
from ruvllm.router.outcomes import TierInfo


def model_with(rng: np.random.Generator, tiers: tuple[TierInfo, ...] = TIERS) -> RouterModel:
    model = RouterModel(tiers)
    params = model.initial_params(rng)
    model.cell.views(params)["head_weight"][:] = rng.normal(0.0, 0.3, model.cell.layout["head_weight"][1])
    model.cell.set_params(params)
    return model


def one_of(inputs: TierInputs) -> TierInputs:
    return TierInputs(inputs.quality[0, 0], inputs.latency_ms[0, 0], inputs.evidence[0, 0])


def test_forward_produces_valid_probabilities() -> None:
    model, known = model_with(np.random.default_rng(0)), lessons(1)
    _, judged = model.step(known.features[0, 0], model.initial_state(), one_of(known.inputs))
    assert softmax(judged.tier_logit).sum() == pytest.approx(1.0, abs=1e-6)
    assert softmax(judged.context_logit).sum() == pytest.approx(1.0, abs=1e-6)
    assert judged.context_logit.shape == (len(CONTEXT_BINS),)
    assert 0.0 < judged.confidence < 1.0
    assert np.isfinite(judged.quality_logit).all() and np.isfinite(judged.log_latency).all()


def test_hidden_state_updates_across_calls() -> None:
    model, known = model_with(np.random.default_rng(0)), lessons(1)
    x, inputs = known.features[0, 0], one_of(known.inputs)
    first, once = model.step(x, model.initial_state(), inputs)
    second, twice = model.step(x, first, inputs)
    assert not np.array_equal(first, second)
    assert not np.array_equal(once.quality_logit, twice.quality_logit)


def test_an_untrained_network_repeats_the_evidence() -> None:
    model = RouterModel(TIERS)
    model.cell.set_params(model.initial_params(np.random.default_rng(0)))
    said = np.array([0.2, 0.4, 0.6, 0.9], np.float32)
    inputs = TierInputs(said, np.array([10, 20, 30, 40], np.float32), np.ones((4, 5), np.float32))
    _, judged = model.step(np.ones(128, np.float32), model.initial_state(), inputs)
    np.testing.assert_allclose(sigmoid(judged.quality_logit), said, atol=1e-6)
    np.testing.assert_allclose(np.exp(judged.log_latency), inputs.latency_ms, rtol=1e-5)


def test_gradient_computation() -> None:
    model, known = model_with(np.random.default_rng(0)), lessons(3, steps=2)
    params = model.cell.params()
    h_0 = np.zeros((3, 64), np.float32)
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal((3, 2, 4)).astype(np.float32) for name in ("quality", "latency", "tier")}

    def loss(flat: np.ndarray) -> float:
        model.cell.set_params(flat.astype(np.float32))
        _, outputs = model.cell.forward(known.features, h_0)
        judged = model.read(outputs, known.inputs)
        scores = {"quality": judged.quality_logit, "latency": judged.log_latency, "tier": judged.tier_logit}
        return float(sum((weights[name].astype(np.float64) * scores[name]).sum() for name in weights))

    model.cell.set_params(params)
    _, _, tape = model.cell.forward_with_tape(known.features, h_0)
    gradient = tape.backward(d_logits=model.d_outputs(weights, known.inputs)).params
    for i in rng.choice(len(params), 60, replace=False):
        step = np.zeros(len(params))
        step[i] = 1e-2
        central = (loss(params + step) - loss(params - step)) / 2e-2
        assert gradient[i] == pytest.approx(central, abs=2e-2 + 2e-2 * abs(central))


def test_sparse_matrix_operations() -> None:
    rng = np.random.default_rng(0)
    dense, known = model_with(rng), lessons(5)
    params = dense.cell.params()
    piece, shape = dense.cell.layout["w"]
    support = keep_largest(params[piece].reshape(shape), 0.3)
    params[piece] *= support.ravel()
    dense.cell.set_params(params)
    sparse = RouterModel(TIERS, w_support=support)
    kept = params[piece][support.ravel()]
    sparse.cell.set_params(np.concatenate([params[: piece.start], kept, params[piece.stop :]]))
    h_0 = np.zeros((5, 64), np.float32)
    for ours, theirs in zip(
        sparse.cell.forward(known.features, h_0), dense.cell.forward(known.features, h_0), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert sparse.cell.num_params < dense.cell.num_params


def test_low_rank_matrix_approximation() -> None:
    model = model_with(np.random.default_rng(0))
    views = model.cell.views(model.cell.params())
    u = views["u1"] @ views["u2"].T
    assert u.shape == (64, 64) and np.linalg.matrix_rank(u) == views["u1"].shape[1] < 64


def test_a_tier_that_joins_is_judged_by_its_size_and_evidence() -> None:
    joined = (*TIERS, TierInfo("7b", 7_000_000_000, 7.0))
    model = model_with(np.random.default_rng(0))
    wider = RouterModel(joined)
    wider.cell.set_params(wider.initial_params(np.random.default_rng(0)))
    assert wider.num_descriptors == model.num_descriptors + 1
    assert [prior_quality(tier) for tier in joined] == sorted(prior_quality(tier) for tier in joined)


def test_descriptors_tell_tiers_apart() -> None:
    rows = descriptors(TIERS)
    assert np.linalg.matrix_rank(rows) == len(TIERS)
    assert (np.diff(rows[:, 1]) > 0.0).all() and (np.diff(rows[:, 2]) > 0.0).all()


def test_no_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="tiers must hold at least one"):
        RouterModel(())
