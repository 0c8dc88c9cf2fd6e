"""Graph attention against a plain NumPy twin in float64, and its gradients against central differences."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ruvllm import kernels
from ruvllm.kernels import Attention, GraphAttention

EPS = float(np.finfo(np.float32).eps)
Inputs = dict[str, np.ndarray]


def random_inputs(n: int, num_edges: int, *, dim: int, features: tuple[int, int], seed: int = 0) -> Inputs:
    """A graph whose row 0 has no edges when n > 1, with self-loops and repeated edges among the others."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(min(1, n - 1), n, num_edges))
    return {
        "nodes": rng.standard_normal((n, dim), dtype=np.float32),
        "indptr": np.searchsorted(rows, np.arange(n + 1)).astype(np.int64),
        "indices": rng.integers(0, n, num_edges).astype(np.int32),
        "edge_features": rng.standard_normal((num_edges, features[0]), dtype=np.float32),
        "query": rng.standard_normal(dim, dtype=np.float32),
        "hops": (np.arange(n) % 5).astype(np.int32),
        "node_features": rng.standard_normal((n, features[1]), dtype=np.float32),
    }


def random_engine(dim: int, *, dtype: type = np.float32, seed: int = 1, **sizes: int) -> GraphAttention:
    """Every parameter away from 0, gamma away from 1."""
    engine = GraphAttention(dim, dtype=dtype, **({"num_edge_features": 5, "num_node_features": 3} | sizes))
    rng = np.random.default_rng(seed)
    flat = engine.initial_params(rng)
    engine.set_params((flat + 0.2 * rng.standard_normal(flat.shape)).astype(dtype))
    return engine


def in_double(inputs: Inputs) -> Inputs:
    return {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in inputs.items()}


def graph_of(inputs: Inputs) -> Inputs:
    return {name: inputs[name] for name in ("nodes", "indptr", "indices", "edge_features")}


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


SIZES = [
    {"dim": 3, "width": 1, "num_heads": 1, "num_layers": 1},
    {"dim": 7, "width": 6, "num_heads": 3, "num_layers": 2},
    {"dim": 24, "width": 17, "num_heads": 17, "num_layers": 1},
    {"dim": 33, "width": 54, "num_heads": 2, "num_layers": 3},
    {"dim": 40, "width": 32, "num_heads": 4, "num_layers": 0},
    {"dim": 384, "width": 32, "num_heads": 4, "num_layers": 2},
    {"dim": 384, "width": 384, "num_heads": 8, "num_layers": 1},
]


def everything(engine: GraphAttention, inputs: Inputs) -> list[np.ndarray]:
    """States, weights, attended vector, then the gradients of a random loss by inputs and by each parameter."""
    found, gradients = run_both_ways(engine, inputs)
    by_parameter = engine.views(gradients[0]).values()
    return [engine.encode(**graph_of(inputs)), found.weights, found.attended, *gradients[1:], *by_parameter]


# (which SIZES, nodes, edges): every small engine on every small graph, the real sizes once
CASES = [*itertools.product(range(5), (1, 5, 9), (0, 2, 40)), (5, 50, 100), (6, 9, 20)]


def make_case(case: tuple[int, int, int]) -> tuple[GraphAttention, Inputs]:
    which, n, num_edges = case
    return random_engine(**SIZES[which]), random_inputs(n, num_edges, dim=SIZES[which]["dim"], features=(5, 3))


@functools.cache  # serves every instruction set
def exact_and_tolerance(case: tuple[int, int, int]) -> tuple[list[np.ndarray], list[float]]:
    """`everything` by the definition in float64, and how far float32 may be off for each result.

    A float32 sum of k products is the exact sum of products that are each off by at most k * eps (Higham 2002, section
    3.1). So all rounding acts as such a change of what goes in: the parameters of every layer, and the inputs. The
    tolerance is twice the largest effect of four random changes of that size. Where a result is 0 by structure (one
    node, one dimension), equal terms cancel whatever the change, and each is off by k * eps of itself.
    """
    engine, inputs = make_case(case)
    sizes = SIZES[case[0]]
    double = random_engine(dtype=np.float64, **sizes)
    flat, wide = engine.params().astype(np.float64), in_double(inputs)
    rng, size = np.random.default_rng(11), (sizes["dim"] + sizes["width"]) * EPS

    def changed(x: np.ndarray) -> np.ndarray:
        return x * (1 + rng.uniform(-size, size, x.shape)) if x.dtype == np.float64 else x

    double.set_params(flat)
    exact = everything(double, wide)
    moved = [0.0] * len(exact)
    for _ in range(4):
        double.set_params(changed(flat))
        others = everything(double, {name: changed(x) for name, x in wide.items()})
        moved = [max(m, np.abs(a - b).max(initial=0.0)) for m, a, b in zip(moved, exact, others, strict=True)]
    largest = max(np.abs(x).max(initial=0.0) for x in exact)
    is_zero = [np.abs(x).max(initial=0.0) < 1e-12 * largest for x in exact]
    return exact, [size * largest if zero else 2 * m for m, zero in zip(moved, is_zero, strict=True)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_and_gradients_match_the_definition_in_float64(isa: str, case: tuple[int, int, int]) -> None:
    exact, tolerances = exact_and_tolerance(case)
    for got, want, bound in zip(everything(*make_case(case)), exact, tolerances, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=bound)


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


# what overflows: a product, a score where two infinities meet, and the variance of a row, which leaves finite numbers
@pytest.mark.parametrize(("name", "size"), [("nodes", 3e38), ("nodes", 1e20), ("query", 3e38)])
def test_finite_numbers_that_overflow_are_refused(isa: str, name: str, size: float) -> None:
    engine, inputs = random_engine(16), random_inputs(20, 60, dim=16, features=(5, 3))
    inputs[name] = np.sign(inputs[name]) * np.float32(size)
    with pytest.raises(ValueError, match=r"nodes, .* parameters must not overflow float32"):
        engine.forward(**inputs)
    if name == "nodes":
        with pytest.raises(ValueError, match="must not overflow float32"):
            engine.encode(**graph_of(inputs))


def test_instruction_sets_agree_up_to_rounding(isa: str) -> None:
    case = (5, 50, 100)
    _, tolerances = exact_and_tolerance(case)
    found = everything(*make_case(case))
    kernels._use_isa("scalar")
    for got, want, bound in zip(found, everything(*make_case(case)), tolerances, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2 * bound)


def test_unaligned_starts_give_the_same_bits(isa: str) -> None:
    engine, inputs = random_engine(40), random_inputs(9, 30, dim=40, features=(5, 3))
    expected = engine.forward(**inputs)
    for name, x in inputs.items():
        shifted = np.empty(x.size + 1, x.dtype)[1:].reshape(x.shape)
        shifted[...] = x
        np.testing.assert_array_equal(engine.forward(**(inputs | {name: shifted})).attended, expected.attended)


def test_threads_change_nothing(isa: str) -> None:
    engine, calls = random_engine(64), [random_inputs(n, 3 * n, dim=64, features=(5, 3), seed=n) for n in range(1, 60)]
    alone = [engine.forward(**inputs) for inputs in calls]
    with ThreadPoolExecutor(4) as pool:
        for one, many in zip(alone * 3, pool.map(lambda inputs: engine.forward(**inputs), calls * 3), strict=True):
            np.testing.assert_array_equal(one.weights, many.weights)
            np.testing.assert_array_equal(one.attended, many.attended)


def run_both_ways(engine: GraphAttention, inputs: Inputs, seed: int = 5) -> tuple[Attention, tuple[np.ndarray, ...]]:
    """A pass and the gradients of a random linear loss of its results."""
    grad_weights, grad_attended = loss_of(engine, inputs, seed)
    found = engine.forward(**inputs, keep=True)
    assert found.tape is not None
    g = engine.backward(found.tape, grad_weights=grad_weights, grad_attended=grad_attended)
    return found, (g.params, g.nodes, g.edge_features, g.query, g.node_features)


def loss_of(engine: GraphAttention, inputs: Inputs, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, dim = inputs["nodes"].shape
    return rng.standard_normal(n).astype(engine.dtype), rng.standard_normal(dim).astype(engine.dtype)


GRADIENT_SIZES = [
    {"dim": 6, "width": 4, "num_heads": 2, "num_layers": 2},
    {"dim": 5, "width": 9, "num_heads": 3, "num_layers": 1},
    {"dim": 5, "width": 3, "num_heads": 1, "num_layers": 0},
]


def gradient_case(sizes: dict[str, int], n: int = 6) -> tuple[GraphAttention, Inputs]:
    engine = random_engine(dtype=np.float64, num_hop_biases=3, **sizes)
    return engine, in_double(random_inputs(n, 3 * (n - 1), dim=sizes["dim"], features=(5, 3)))


def loss(engine: GraphAttention, inputs: Inputs) -> float:
    grad_weights, grad_attended = loss_of(engine, inputs)
    found = engine.forward(**inputs)
    return float(grad_weights @ found.weights + grad_attended @ found.attended)


def central_difference(values: np.ndarray, change: Any, step: float = 1e-6) -> np.ndarray:
    """(f(x + step) - f(x - step)) / (2 step) for every entry of `values`; `change` computes f after one was moved."""
    slopes = np.empty_like(values)
    for place in np.ndindex(values.shape):
        before = values[place]
        values[place] = before + step
        above = change()
        values[place] = before - step
        slopes[place] = (above - change()) / (2 * step)
        values[place] = before
    return slopes


@pytest.mark.parametrize("sizes", GRADIENT_SIZES, ids=str)
def test_gradients_of_every_parameter_match_central_differences(sizes: dict[str, int]) -> None:
    engine, inputs = gradient_case(sizes)
    _, (gradient, *_) = run_both_ways(engine, inputs)
    flat = engine.params()

    def after_setting() -> float:
        engine.set_params(flat)
        return loss(engine, inputs)

    slopes = engine.views(central_difference(flat, after_setting))
    for name, view in engine.views(gradient).items():
        # step^2 and the rounding of the loss over the step, both about 1e-9 at losses near 1
        np.testing.assert_allclose(view, slopes[name], rtol=1e-6, atol=3e-8, err_msg=name)
        assert np.abs(view).max() > 1e-4, name  # a gradient that is zero would prove nothing


@pytest.mark.parametrize("sizes", GRADIENT_SIZES, ids=str)
def test_gradients_of_every_input_match_central_differences(sizes: dict[str, int]) -> None:
    engine, inputs = gradient_case(sizes)
    _, (_, *gradients) = run_both_ways(engine, inputs)
    for name, gradient in zip(("nodes", "edge_features", "query", "node_features"), gradients, strict=True):
        slopes = central_difference(inputs[name], lambda: loss(engine, inputs))
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=3e-8, err_msg=name)


def test_a_gradient_left_out_counts_as_zero(isa: str) -> None:
    engine, inputs = random_engine(24), random_inputs(7, 20, dim=24, features=(5, 3))
    tape = engine.forward(**inputs, keep=True).tape
    assert tape is not None
    grad_weights, grad_attended = loss_of(engine, inputs)
    for given, zeros in (
        ({"grad_weights": grad_weights}, {"grad_attended": np.zeros(24, np.float32)}),
        ({"grad_attended": grad_attended}, {"grad_weights": np.zeros(7, np.float32)}),
    ):
        left_out = engine.backward(tape, **given)
        np.testing.assert_array_equal(left_out.params, engine.backward(tape, **given, **zeros).params)


def test_a_tape_keeps_the_parameters_of_its_pass(isa: str) -> None:
    engine, inputs = random_engine(24), random_inputs(7, 20, dim=24, features=(5, 3))
    grad_weights, _ = loss_of(engine, inputs)
    tape = engine.forward(**inputs, keep=True).tape
    assert tape is not None
    before = engine.backward(tape, grad_weights=grad_weights)
    engine.set_params(np.zeros_like(engine.params()))
    np.testing.assert_array_equal(engine.backward(tape, grad_weights=grad_weights).params, before.params)


def test_a_tape_outlives_its_arrays_and_its_engine(isa: str) -> None:
    engine, inputs = random_engine(24), random_inputs(7, 20, dim=24, features=(5, 3))
    grad_weights, _ = loss_of(engine, inputs)
    tape = engine.forward(**inputs, keep=True).tape
    assert tape is not None
    before = engine.backward(tape, grad_weights=grad_weights)
    for array in inputs.values():
        array[...] = np.iinfo(np.int32).max
    del engine
    np.testing.assert_array_equal(random_engine(24).backward(tape, grad_weights=grad_weights).params, before.params)


def test_descent_along_the_gradient_lifts_a_chosen_node() -> None:
    inputs = random_inputs(20, 60, dim=32, features=(5, 3))
    engine = GraphAttention(32, num_edge_features=5, num_node_features=3)
    flat = engine.initial_params(np.random.default_rng(0), scale=0.1)
    engine.set_params(flat)
    wanted = int(engine.forward(**inputs).ranking[-1])
    for _ in range(60):
        found = engine.forward(**inputs, keep=True)
        grad_weights = np.zeros(20, np.float32)
        grad_weights[wanted] = -1.0 / found.weights[wanted]  # of -log weight
        assert found.tape is not None
        flat -= 0.1 * engine.backward(found.tape, grad_weights=grad_weights).params
        engine.set_params(flat)
    assert engine.forward(**inputs).ranking[0] == wanted


def test_views_write_through_and_cover_the_buffer() -> None:
    engine = random_engine(6)
    flat = engine.params()
    views = engine.views(flat)
    assert sum(view.size for view in views.values()) == flat.size
    assert views["layers.1.edge_bias"].shape == (5, 4)
    for view in views.values():
        view[...] = 7.0
    np.testing.assert_array_equal(flat, 7.0)


GOOD = random_inputs(4, 6, dim=8, features=(5, 3))


def with_entry(name: str, place: object, value: float) -> np.ndarray:
    changed = GOOD[name].copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"nodes": np.empty((0, 8), np.float32)}, ValueError, r"nodes must have at least 1 row \(0\)"),
        ({"nodes": GOOD["nodes"].tolist()}, TypeError, r"nodes must be a numpy array \(list\)"),
        ({"nodes": GOOD["nodes"].astype(np.float64)}, ValueError, r"nodes must have dtype float32 \(float64\)"),
        ({"nodes": GOOD["nodes"][0]}, ValueError, r"nodes must have 2 dimensions \(1\)"),
        ({"nodes": GOOD["nodes"][:, :7].copy()}, ValueError, r"nodes must have 8 columns \(7\)"),
        ({"nodes": np.asfortranarray(GOOD["nodes"])}, ValueError, "nodes must be C-contiguous"),
        ({"nodes": with_entry("nodes", (2, 7), np.nan)}, ValueError, r"nodes\[2\] must be finite"),
        ({"indptr": GOOD["indptr"][:-1]}, ValueError, r"indptr must have 5 entries \(4\)"),
        ({"indptr": GOOD["indptr"].astype(np.int32)}, ValueError, r"indptr must have dtype int64 \(int32\)"),
        ({"indptr": with_entry("indptr", 0, 1)}, ValueError, "indptr must start with 0"),
        ({"indptr": with_entry("indptr", 1, 99)}, ValueError, "indptr must ascend"),
        ({"indptr": with_entry("indptr", 4, 7)}, ValueError, r"indptr must end with 6.*\(7\)"),
        ({"indices": with_entry("indices", 5, 4)}, ValueError, r"indices\[5\] must be in \[0, 4\) \(4\)"),
        ({"indices": with_entry("indices", 0, -1)}, ValueError, r"indices\[0\] must be in \[0, 4\) \(-1\)"),
        ({"indices": GOOD["indices"].astype(np.int64)}, ValueError, r"indices must have dtype int32 \(int64\)"),
        ({"edge_features": GOOD["edge_features"][:5]}, ValueError, r"edge_features must have 6 rows \(5\)"),
        ({"edge_features": GOOD["edge_features"][:, :4].copy()}, ValueError, r"edge_features must have 5 columns"),
        ({"edge_features": with_entry("edge_features", (3, 0), np.inf)}, ValueError, r"edge_features\[3\] must be fin"),
        ({"query": GOOD["query"][:7]}, ValueError, r"query must have 8 entries \(7\)"),
        ({"query": with_entry("query", 7, np.nan)}, ValueError, "query must be finite"),
        ({"hops": GOOD["hops"][:3]}, ValueError, r"hops must have 4 entries \(3\)"),
        ({"hops": with_entry("hops", 3, -1)}, ValueError, r"hops\[3\] must be >= 0 \(-1\)"),
        ({"hops": GOOD["hops"].astype(np.int64)}, ValueError, r"hops must have dtype int32 \(int64\)"),
        ({"node_features": GOOD["node_features"][:, :2].copy()}, ValueError, r"node_features must have 3 columns"),
        ({"node_features": with_entry("node_features", (0, 0), np.nan)}, ValueError, r"node_features\[0\] must be fi"),
        ({"node_features": None}, TypeError, "node_features must be a numpy array"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, Any], error: type[Exception], says: str) -> None:
    engine = random_engine(8)
    with pytest.raises(error, match=says):
        engine.forward(**(GOOD | change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dim": 0}, r"dim must be in \[1, 65536\] \(0\)"),
        ({"dim": 10**9}, r"dim must be in \[1, 65536\]"),
        ({"width": 30}, r"width must be a multiple of num_heads, 4 \(30\)"),
        ({"num_heads": 0}, r"num_heads must be in \[1"),
        ({"num_layers": -1}, r"num_layers must be in \[0"),
        ({"num_edge_features": -1}, r"num_edge_features must be in \[0"),
        ({"num_node_features": -1}, r"num_node_features must be in \[0"),
        ({"num_hop_biases": 0}, r"num_hop_biases must be in \[1"),
        ({"dim": 65536, "width": 65536, "num_layers": 65536}, "dim, width, num_layers must make at most 134217728"),
        ({"dtype": np.float16}, r"dtype must be float32 or float64 \(float16\)"),
    ],
)
def test_bad_sizes_are_refused_by_name(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GraphAttention(**({"dim": 8, "num_edge_features": 2, "num_node_features": 2} | change))


def test_bad_parameters_leave_the_old_ones() -> None:
    engine = random_engine(8)
    before = engine.params()
    for bad, says in (
        (before[:-1], "params must have"),
        (before.astype(np.float64), "params must have dtype"),
        (np.full_like(before, np.nan), "params must be finite"),
    ):
        with pytest.raises(ValueError, match=says):
            engine.set_params(bad)
    np.testing.assert_array_equal(engine.params(), before)
    with pytest.raises(ValueError, match="flat must be contiguous with shape"):
        engine.views(before[1:])


def test_bad_gradients_are_refused_by_name() -> None:
    engine = random_engine(8)
    tape = engine.forward(**GOOD, keep=True).tape
    assert tape is not None
    with pytest.raises(ValueError, match=r"grad_weights must have 4 entries \(3\)"):
        engine.backward(tape, grad_weights=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="grad_attended must be finite"):
        engine.backward(tape, grad_attended=np.full(8, np.inf, np.float32))
    with pytest.raises(ValueError, match="tape must come from an engine of the same sizes"):
        random_engine(8, num_layers=1).backward(tape)
