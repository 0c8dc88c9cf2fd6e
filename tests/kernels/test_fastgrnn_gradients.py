"""Gradients of FastGRNN by central differences in float64, and against the oracle on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.fastgrnn_cases import FORMS, mask_of, model_of, normal, oracle_of
from kernels.fastgrnn_oracle import EPS, Oracle
from ruvllm.kernels import FastGrnn


def heads_gradient(model: FastGrnn, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """p - y: of cross-entropy for softmax and sigmoid heads, of half the squared error for linear ones."""
    return outputs - targets


def loss_of(model: FastGrnn, outputs: np.ndarray, targets: np.ndarray) -> float:
    total = 0.0
    for head in model.heads:
        p, y = model.split(outputs)[head.name], model.split(targets)[head.name]
        if head.activation == "softmax":
            total -= float((y * np.log(p)).sum())
        elif head.activation == "sigmoid":
            total -= float((y * np.log(p) + (1 - y) * np.log1p(-p)).sum())
        else:
            total += float(((p - y) ** 2).sum()) / 2
    return total


def targets_for(model: FastGrnn, n: int, steps: int) -> np.ndarray:
    targets = np.random.default_rng(3).random((n, steps, model.num_outputs))
    for head in model.heads:
        if head.activation == "softmax":
            part = model.split(targets)[head.name]
            part /= part.sum(axis=-1, keepdims=True)
    return targets


@pytest.mark.parametrize("form", FORMS)
def test_gradient_computation(form: str) -> None:
    """Every parameter, x and h_0 by central differences in float64, through the heads and through h_t itself."""
    n, steps, inputs, hidden = 2, 4, 6, 5
    model = model_of(form, inputs, hidden, dtype=np.float64)
    flat, x, h_0 = model.params(), normal(n, steps, inputs, dtype=np.float64), normal(n, hidden, dtype=np.float64)
    targets, pull = targets_for(model, n, steps), normal(n, steps, hidden, seed=4, dtype=np.float64)

    def loss() -> float:
        model.set_params(flat)
        states, outputs = model.forward(x, h_0)
        return loss_of(model, outputs, targets) + float((pull * states).sum())

    _, outputs, tape = model.forward_with_tape(x, h_0)
    gradients = tape.backward(d_logits=heads_gradient(model, outputs, targets), d_hidden=pull, want_d_x=True)
    assert gradients.x is not None
    step = 1e-5
    for values, gradient in ((flat, gradients.params), (x, gradients.x), (h_0, gradients.h_0)):
        for i in np.ndindex(values.shape):
            kept = values[i]
            values[i] = kept + step
            above = loss()
            values[i] = kept - step
            below = loss()
            values[i] = kept
            # truncation step^2 f''' / 6 with |f'''| < 100 here, rounding 1e-16 |f| / step
            assert abs((above - below) / (2 * step) - gradient[i]) <= 20 * step**2 + 1e-15 * abs(above) / step


def gradient_bounds(
    oracle: Oracle, x: np.ndarray, h_0: np.ndarray, d_logits: np.ndarray, d_hidden: np.ndarray
) -> dict[str, np.ndarray]:
    """Operations on the longest path * eps * sum |terms|; a gate inherits the rounding of its pre-activation."""
    n, steps, _ = x.shape
    path = steps * (oracle.model.input_size + 3 * oracle.model.hidden_size + 20) + n * steps
    before = np.concatenate([h_0[:, np.newaxis], oracle.forward(x, h_0)[0][:, :-1]], axis=1)
    bound = path * EPS * max(1.0, oracle.pre_activation_size(x, before).max())
    sizes = oracle.backward(x, h_0, d_logits, d_hidden, sizes=True)
    return {name: bound * size for name, size in sizes.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "steps", "inputs", "hidden"), [(1, 1, 1, 1), (5, 3, 37, 21), (40, 8, 128, 64)])
def test_gradients_in_float32_match_the_oracle(
    isa: str, form: str, n: int, steps: int, inputs: int, hidden: int
) -> None:
    model = model_of(form, inputs, hidden)
    x, h_0 = normal(n, steps, inputs), normal(n, hidden, seed=2)
    d_logits, d_hidden = normal(n, steps, model.num_outputs, seed=3), normal(n, steps, hidden, seed=4)
    _, _, tape = model.forward_with_tape(x, h_0)
    found = tape.backward(d_logits=d_logits, d_hidden=d_hidden, want_d_x=True)
    oracle = oracle_of(model, form)
    truth = oracle.backward(x, h_0, d_logits, d_hidden)
    bounds = gradient_bounds(oracle, x, h_0, d_logits, d_hidden)
    assert found.x is not None
    gradients = model.views(found.params) | {"x": found.x, "h_0": found.h_0}
    for name, gradient in gradients.items():
        expected, bound = truth[name], bounds[name]
        if form == "sparse" and name == "w":
            expected, bound = (full[mask_of(hidden, inputs)] for full in (expected, bound))
        assert np.all(np.abs(gradient - expected) <= bound), name


def test_backward_without_gradients_is_zero(isa: str) -> None:
    _, _, tape = model_of("dense", 9, 7).forward_with_tape(normal(2, 3, 9), normal(2, 7))
    gradients = tape.backward()
    assert not gradients.params.any()
    assert not gradients.h_0.any()
    assert gradients.x is None


def test_backward_uses_the_parameters_of_its_forward(isa: str) -> None:
    model, d_hidden = model_of("sparse", 9, 7), normal(2, 3, 7, seed=3)
    _, _, tape = model.forward_with_tape(normal(2, 3, 9), normal(2, 7))
    before = tape.backward(d_hidden=d_hidden)
    model.set_params(np.zeros(model.num_params, np.float32))
    del model
    np.testing.assert_array_equal(tape.backward(d_hidden=d_hidden).params, before.params)


def test_one_step_from_zero_never_exercises_u(isa: str) -> None:
    model = model_of("dense")
    _, _, tape = model.forward_with_tape(normal(9, 1, 128), np.zeros((9, 64), np.float32))
    gradients = model.views(tape.backward(d_hidden=normal(9, 1, 64, seed=3)).params)
    assert not gradients["u2"].any()
    assert not gradients["u1"].any()
    assert all(gradients[name].all() for name in ("bias_gate", "bias_update", "zeta_raw", "nu_raw", "w"))


def test_steps_past_the_end_of_a_sequence_count_nothing(isa: str) -> None:
    model, x, h_0 = model_of("dense", 9, 7), normal(2, 5, 9), normal(2, 7, seed=2)
    d_hidden = normal(2, 5, 7, seed=3)
    d_hidden[:, 3:] = 0.0
    _, _, tape = model.forward_with_tape(x, h_0)
    _, _, short_tape = model.forward_with_tape(np.ascontiguousarray(x[:, :3]), h_0)
    padded = tape.backward(d_hidden=d_hidden)
    short = short_tape.backward(d_hidden=np.ascontiguousarray(d_hidden[:, :3]))
    np.testing.assert_array_equal(padded.h_0, short.h_0)
    np.testing.assert_array_equal(padded.params, short.params)


def dense_twin(model: FastGrnn, mask: np.ndarray) -> FastGrnn:
    """The same model with W stored in full."""
    twin = FastGrnn(model.input_size, model.hidden_size, u_rank=8, heads=model.heads)
    flat = np.zeros(twin.num_params, np.float32)
    fields = twin.views(flat)
    for name, view in model.views(model.params()).items():
        fields[name][mask if name == "w" else ...] = view
    twin.set_params(flat)
    return twin


@pytest.mark.parametrize("density", [0.0002, 0.1, 0.5, 1.0])
def test_sparse_matrix_operations(isa: str, density: float) -> None:
    """A sparse W computes what the dense W with the same entries does, forward and backward."""
    mask = mask_of(64, 128, density)
    model = model_of("sparse", w_support=mask)
    twin = dense_twin(model, mask)
    x, h_0 = normal(20, 3, 128), normal(20, 64, seed=2)
    states, _, tape = model.forward_with_tape(x, h_0)
    dense_states, _, dense_tape = twin.forward_with_tape(x, h_0)
    oracle = Oracle(twin, twin.params())
    _, error = oracle.forward(x, h_0)
    assert np.all(np.abs(states - dense_states) <= 2 * error)
    assert np.all(np.abs(model.step(x[0, 0], h_0[0])[0] - dense_states[0, 0]) <= 2 * error[0, 0])
    d_hidden = normal(20, 3, 64, seed=3)
    sparse, dense = (each.backward(d_hidden=d_hidden, want_d_x=True) for each in (tape, dense_tape))
    bounds = gradient_bounds(oracle, x, h_0, np.zeros((20, 3, model.num_outputs)), d_hidden)
    on_support = model.views(sparse.params)["w"] - twin.views(dense.params)["w"][mask]
    assert np.all(np.abs(on_support) <= 2 * bounds["w"][mask])
    assert sparse.x is not None
    assert np.all(np.abs(sparse.x - dense.x) <= 2 * bounds["x"])
