"""Graph attention against a plain NumPy twin in float64, and what its results must satisfy."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention_cases import (
    EPS,
    SIZES,
    Inputs,
    graph_of,
    in_double,
    random_engine,
    random_inputs,
)
from ruvllm.kernels import GraphAttention


def parameters_of(engine: GraphAttention) -> dict[str, np.ndarray]:
    return engine.views(engine.params().astype(np.float64))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def twin_layer(w: dict[str, np.ndarray], layer: str, heads: int, x: np.ndarray, inputs: Inputs) -> np.ndarray:
    """One layer in plain NumPy, node by node and head by head."""
    n = len(x)
    query, key, value = np.split(x @ w[layer + "w_qkv"].T, 3, axis=1)
    head_dim = query.shape[1] // heads
    context = np.zeros_like(query)
    for i in range(n):
        edges = slice(inputs["indptr"][i], inputs["indptr"][i + 1])
        near = [*inputs["indices"][edges], i]
        bias = np.vstack([inputs["edge_features"][edges] @ w[layer + "edge_bias"], w[layer + "self_bias"]])
        for h in range(heads):
            part = slice(h * head_dim, (h + 1) * head_dim)
            a = softmax(key[near, part] @ query[i, part] / np.sqrt(head_dim) + bias[:, h])
            context[i, part] = a @ value[near, part]
    total = x + context @ w[layer + "w_o"]
    centred = total - total.mean(axis=1, keepdims=True)
    normalized = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return w[layer + "gamma"] * normalized + w[layer + "beta"]


def twin(engine: GraphAttention, heads: int, num_layers: int, inputs: Inputs) -> tuple[np.ndarray, ...]:
    """Nodes after the layers, weights and attended vector; the readout with K and V of every node, nothing folded."""
    w, inputs = parameters_of(engine), in_double(inputs)
    states = inputs["nodes"]
    for layer in range(num_layers):
        states = twin_layer(w, f"layers.{layer}.", heads, states, inputs)
    query, key, value = w["readout.w_q"] @ inputs["query"], states @ w["readout.w_k"].T, states @ w["readout.w_v"].T
    head_dim = len(query) // heads
    hops = np.minimum(inputs["hops"], len(w["readout.hop_bias"]) - 1)
    scores = w["readout.hop_bias"][hops] + inputs["node_features"] @ w["readout.node_bias"]
    split = (len(states), heads, head_dim)
    scores += np.einsum("hc,nhc->nh", query.reshape(heads, head_dim), key.reshape(split)) / np.sqrt(head_dim)
    a = softmax(scores)
    pooled = np.einsum("nh,nhc->hc", a, value.reshape(split)).ravel()
    return states, a.mean(axis=1), pooled @ w["readout.w_o"]


@pytest.mark.parametrize("sizes", SIZES[:5], ids=str)
def test_the_definition_in_float64_matches_the_twin_to_the_last_digits(sizes: dict[str, int]) -> None:
    engine = random_engine(dtype=np.float64, **sizes)
    inputs = in_double(random_inputs(9, 40, dim=sizes["dim"], features=(5, 3)))
    states, weights, attended = twin(engine, sizes["num_heads"], sizes["num_layers"], inputs)
    found = engine.forward(**inputs)
    np.testing.assert_allclose(engine.encode(**graph_of(inputs)), states, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.attended, attended, rtol=1e-10, atol=1e-11)


def test_attention_weights_sum_to_one(isa: str) -> None:
    engine, inputs = random_engine(40, num_layers=2), random_inputs(30, 100, dim=40, features=(5, 3))
    found = engine.forward(**inputs, keep=True)
    assert found.tape is not None
    rows = np.repeat(np.arange(30), np.diff(inputs["indptr"]))
    for edges, own in zip(found.tape.edge_weights, found.tape.self_weights, strict=True):
        totals = own.astype(np.float64)
        np.add.at(totals, rows, edges)
        np.testing.assert_allclose(totals, 1.0, rtol=0, atol=30 * EPS)
        assert np.all(edges >= 0) and np.all(own > 0)
    np.testing.assert_allclose(found.tape.readout_weights.sum(axis=0, dtype=np.float64), 1.0, rtol=0, atol=30 * EPS)
    assert found.weights.sum(dtype=np.float64) == pytest.approx(1.0, rel=0, abs=30 * EPS)


def test_edge_features_influence_attention(isa: str) -> None:
    engine = GraphAttention(8, num_edge_features=2, num_node_features=0, num_layers=1)
    flat = engine.params()
    engine.views(flat)["layers.0.edge_bias"][1] = 3.0  # the second feature attracts, the first does nothing
    engine.set_params(flat)
    inputs = random_inputs(3, 2, dim=8, features=(2, 0))
    inputs |= {"indptr": np.array([0, 2, 2, 2]), "indices": np.array([1, 2], np.int32)}
    inputs["edge_features"] = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    found = engine.forward(**inputs, keep=True)
    assert found.tape is not None
    share = np.exp(3.0) / (np.exp(3.0) + 2.0)  # beside the first edge and the node itself
    np.testing.assert_allclose(found.tape.edge_weights[0][1], share, rtol=4 * EPS)
    np.testing.assert_allclose(found.tape.edge_weights[0][0], (1.0 - share) / 2, rtol=8 * EPS)


def test_multi_head_concatenation(isa: str) -> None:
    inputs = random_inputs(9, 30, dim=24, features=(5, 3))
    both = random_engine(24, width=12, num_heads=2, num_layers=1)
    together = both.forward(**inputs, keep=True).tape
    assert together is not None
    w = both.views(both.params())
    for h in range(2):  # an engine of one head with that head's parameters
        alone = GraphAttention(24, num_edge_features=5, num_node_features=3, width=6, num_heads=1, num_layers=1)
        flat = alone.params()
        views, rows = alone.views(flat), slice(6 * h, 6 * h + 6)
        views["layers.0.w_qkv"][:] = np.concatenate([part[rows] for part in np.split(w["layers.0.w_qkv"], 3)])
        views["layers.0.edge_bias"][:] = w["layers.0.edge_bias"][:, h : h + 1]
        views["layers.0.self_bias"][:] = w["layers.0.self_bias"][h]
        alone.set_params(flat)
        tape = alone.forward(**inputs, keep=True).tape
        assert tape is not None
        np.testing.assert_allclose(together.contexts[0][:, rows], tape.contexts[0], rtol=0, atol=100 * EPS)


def test_residual_connection_preserved(isa: str) -> None:
    engine = random_engine(48, num_layers=1)
    flat = engine.params()
    views = engine.views(flat)
    views["layers.0.w_o"][:] = 0.0  # attention adds nothing, so what is left is the node itself, normalised
    views["layers.0.gamma"][:], views["layers.0.beta"][:] = 1.0, 0.0
    engine.set_params(flat)
    inputs = random_inputs(10, 30, dim=48, features=(5, 3))
    x = inputs["nodes"].astype(np.float64)
    expected = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(engine.encode(**graph_of(inputs)), expected, rtol=0, atol=48 * EPS * 4)


@pytest.mark.parametrize("dim", range(1, 66))
def test_layer_norm_normalization(isa: str, dim: int) -> None:
    engine = GraphAttention(dim, num_edge_features=5, num_node_features=3, num_layers=1)
    inputs = random_inputs(4, 9, dim=dim, features=(5, 3))
    out = engine.encode(**graph_of(inputs)).astype(np.float64)  # gamma 1, beta 0
    np.testing.assert_allclose(out.mean(axis=1), 0.0, atol=dim * EPS)
    variance = inputs["nodes"].astype(np.float64).var(axis=1)
    np.testing.assert_allclose(out.var(axis=1), variance / (variance + 1e-5), rtol=dim * EPS * 4)


def test_attention_ranking_matches_weights(isa: str) -> None:
    engine, inputs = random_engine(20), random_inputs(200, 500, dim=20, features=(5, 3))
    for name in ("nodes", "node_features"):
        inputs[name][100:] = inputs[name][:100]
    inputs["indptr"][:], inputs["hops"][:] = 0, 1
    inputs |= {"indices": inputs["indices"][:0], "edge_features": inputs["edge_features"][:0]}
    found = engine.forward(**inputs)
    np.testing.assert_array_equal(found.weights[:100], found.weights[100:])  # every weight is tied
    np.testing.assert_array_equal(found.ranking, np.lexsort([np.arange(200), -found.weights]))


def test_a_new_engine_returns_the_prior(isa: str) -> None:
    engine = GraphAttention(16, num_edge_features=5, num_node_features=3)
    flat = engine.params()
    engine.views(flat)["readout.node_bias"][1] = 1.0
    engine.set_params(flat)
    inputs = random_inputs(60, 200, dim=16, features=(5, 3))
    prior = np.random.default_rng(3).dirichlet(np.full(60, 0.3)) + 1e-9
    inputs["node_features"][:, 1] = np.log(prior)
    # a logarithm of size |log p| rounds by eps/2 |log p|, which is the relative error of its power
    bound = EPS * (np.abs(np.log(prior)).max() + 60)
    np.testing.assert_allclose(engine.forward(**inputs).weights, prior / prior.sum(), rtol=bound)


def test_hops_beyond_the_last_share_its_bias(isa: str) -> None:
    engine, inputs = random_engine(8, num_hop_biases=3), random_inputs(5, 9, dim=8, features=(5, 3))
    inputs["hops"] = np.array([0, 1, 2, 3, 2**31 - 1], np.int32)
    far = engine.forward(**inputs)
    inputs["hops"] = np.array([0, 1, 2, 2, 2], np.int32)
    np.testing.assert_array_equal(far.weights, engine.forward(**inputs).weights)


def test_an_isolated_node_attends_to_itself_alone(isa: str) -> None:
    tape = random_engine(8).forward(**random_inputs(5, 9, dim=8, features=(5, 3)), keep=True).tape
    assert tape is not None
    for own in tape.self_weights:
        np.testing.assert_array_equal(own[0], 1.0)


def test_huge_scores_overflow_nothing(isa: str) -> None:
    engine, inputs = random_engine(16), random_inputs(20, 60, dim=16, features=(5, 3))
    inputs["node_features"] *= np.float32(1e30)
    inputs["edge_features"] *= np.float32(1e30)
    found = engine.forward(**inputs)
    assert np.isfinite(found.weights).all() and np.isfinite(found.attended).all()
    assert found.weights.sum() == pytest.approx(1.0, abs=30 * EPS)


def test_views_write_through_and_cover_the_buffer() -> None:
    engine = random_engine(6)
    flat = engine.params()
    views = engine.views(flat)
    assert sum(view.size for view in views.values()) == flat.size
    assert views["layers.1.edge_bias"].shape == (5, 4)
    for view in views.values():
        view[...] = 7.0
    np.testing.assert_array_equal(flat, 7.0)
