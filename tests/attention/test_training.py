"""Training ranks what had credit higher, and the gate keeps what does so on answers it has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ruvllm.attention import AttentionEngine
from ruvllm.attention.engine import Example, Inputs, make_inputs
from ruvllm.attention.features import FEATURES, pagerank_prior
from ruvllm.attention.training import listwise_loss, mean_loss, train, train_gated

from .cases import candidates

N = 6


def example(rng: np.random.Generator, *, teaches: bool = True) -> Example:
    """A question whose answer is where keywords are; a random node's instead when it teaches nothing."""
    keyword = rng.permutation(N).astype(np.float32) / (N - 1)
    made, edge_features = candidates(N, keyword=keyword, similarity=np.full(N, 0.3, np.float32))
    credit = np.zeros(N, np.float32)
    credit[int(keyword.argmin()) if teaches else rng.integers(N)] = 1.0  # the opposite of what the prior says
    return Example(make_inputs(made, edge_features, pagerank_prior(made)), credit)


@pytest.mark.parametrize("ignored", [None, np.array([False, True, False]), np.array([True, True, False])])
def test_loss_and_its_gradient_by_central_differences(ignored: np.ndarray | None) -> None:
    weights, credit = np.array([0.2, 0.5, 0.3]), np.array([0.7, 0.0, 0.3])
    _, gradient = listwise_loss(weights, credit, ignored)
    for i in range(3):
        step = np.zeros(3)
        step[i] = 1e-5
        above, below = (listwise_loss(moved, credit, ignored)[0] for moved in (weights + step, weights - step))
        assert gradient[i] == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-6)


def test_what_is_ignored_is_as_if_it_were_not_there() -> None:
    credit, ignored = np.array([0.7, 0.0, 0.3]), np.array([False, True, False])
    loss, gradient = listwise_loss(np.array([0.2, 0.5, 0.3]), credit, ignored)
    assert loss == pytest.approx(listwise_loss(np.array([0.4, 0.6]), credit[~ignored])[0])
    assert gradient[1] == 0.0


def test_training_lowers_the_loss() -> None:
    rng = np.random.default_rng(0)
    examples = [example(rng) for _ in range(30)]
    assert mean_loss(train(examples), examples) < mean_loss(AttentionEngine().untrained(), examples)


def test_training_is_deterministic() -> None:
    examples = [example(np.random.default_rng(i)) for i in range(12)]
    assert np.array_equal(train(examples), train(examples))


def test_a_feature_teaches_the_same_whatever_its_unit() -> None:
    rng = np.random.default_rng(0)
    made = [example(rng) for _ in range(12)]
    halved = [replace(one, inputs=_with_halved(one.inputs, "keyword")) for one in made]
    whole, half = (_weight_of(train(examples), "keyword") for examples in (made, halved))
    assert half == pytest.approx(2.0 * whole, rel=0.05) and whole < -0.1


def _with_halved(inputs: Inputs, name: str) -> Inputs:
    features = inputs.node_features.copy()
    features[:, FEATURES.index(name)] /= 2.0
    return replace(inputs, node_features=features)


def _weight_of(params: np.ndarray, name: str) -> float:
    views = AttentionEngine().kernel.views(params)
    return float(views["readout.node_bias"][FEATURES.index(name)].mean())


def test_what_ranks_unseen_answers_better_is_kept() -> None:
    rng = np.random.default_rng(1)
    params, report = train_gated([example(rng) for _ in range(40)])
    assert params is not None
    assert report.accepted
    assert report.loss is not None
    assert report.untrained_loss is not None
    assert report.loss < report.untrained_loss


def test_what_ranks_unseen_answers_worse_is_discarded() -> None:
    rng = np.random.default_rng(2)
    taught = [example(rng) for _ in range(40)]
    for i in range(0, 40, 5):  # the held-out fifth says the contrary of what the others teach
        best = int(taught[i].inputs.node_features[:, 2].argmax())
        taught[i] = Example(taught[i].inputs, np.eye(N, dtype=np.float32)[best])
    params, report = train_gated(taught)
    assert params is None
    assert not report.accepted


def test_a_handful_of_examples_teaches_nothing() -> None:
    params, report = train_gated([example(np.random.default_rng(0)) for _ in range(9)])
    assert params is None
    assert report.examples == 9


def test_a_cancelled_pass_is_not_kept() -> None:
    rng = np.random.default_rng(3)
    params, _ = train_gated([example(rng) for _ in range(20)], cancelled=lambda: True)
    assert params is None
