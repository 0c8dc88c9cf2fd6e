"""Gradients of graph attention by central differences in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.attention_cases import (
    Inputs,
    in_double,
    loss_of,
    random_engine,
    random_inputs,
    run_both_ways,
)
from ruvllm.kernels import GraphAttention

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
