"""The FastGRNN cell against a float64 oracle and central differences, on every instruction set."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

from kernels.fastgrnn_oracle import EPS, Oracle
from ruvllm import kernels
from ruvllm.kernels import FastGrnn, Head, keep_largest

UNROLLED = 64  # hidden units of a block of the one-step kernel: every tail lies below twice this
HEADS = (Head("tier", 3, "softmax"), Head("score", 2, "linear"), Head("confidence", 2, "sigmoid"))
FORMS = ["dense", "low_rank", "sparse", "full_u"]


def mask_of(hidden: int, inputs: int, density: float = 0.3, seed: int = 0) -> np.ndarray:
    return keep_largest(np.random.default_rng(seed).standard_normal((hidden, inputs)), density)


def model_of(form: str, inputs: int = 128, hidden: int = 64, seed: int = 0, **options: Any) -> FastGrnn:
    forms: dict[str, dict[str, Any]] = {
        "dense": {"u_rank": min(8, hidden)},
        "low_rank": {"w_rank": min(5, inputs, hidden), "u_rank": min(3, hidden)},
        "sparse": {"w_support": mask_of(hidden, inputs), "u_rank": min(8, hidden)},
        "full_u": {"u_rank": 0},
    }
    model = FastGrnn(inputs, hidden, **({"heads": HEADS} | forms[form] | options))
    rng = np.random.default_rng(seed)
    flat = model.initial_params(rng)
    flat += (0.2 * rng.standard_normal(flat.shape)).astype(flat.dtype)  # biases, zeta and nu away from their defaults
    model.set_params(flat)
    return model


def oracle_of(model: FastGrnn, form: str) -> Oracle:
    if form != "sparse":
        return Oracle(model, model.params())
    mask = mask_of(model.hidden_size, model.input_size)
    oracle, w = Oracle(model, model.params()), np.zeros(mask.shape)
    w[mask] = oracle.p["w"]
    return oracle.with_w(w)


def normal(*shape: int, seed: int = 1, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check_step(form: str, inputs: int, hidden: int) -> None:
    model = model_of(form, inputs, hidden)
    x, h = normal(inputs), normal(hidden, seed=2)
    new_h, outputs = model.step(x, h)
    oracle = oracle_of(model, form)
    truth, error = oracle.step(x.astype(np.float64), h.astype(np.float64))
    assert np.all(np.abs(new_h - truth) <= error)
    truth, error = oracle.outputs(truth, error)
    assert np.all(np.abs(outputs - truth) <= error)


@pytest.mark.parametrize("form", FORMS)
def test_every_hidden_size_matches_the_oracle(isa: str, form: str) -> None:
    for hidden in range(1, 2 * UNROLLED + 1, 1 if form == "dense" else 7):
        check_step(form, 19, hidden)


@pytest.mark.parametrize("form", FORMS)
def test_every_input_size_matches_the_oracle(isa: str, form: str) -> None:
    for inputs in range(1, 50):
        check_step(form, inputs, 21)


@pytest.mark.parametrize("form", FORMS)
def test_the_router_size_matches_the_oracle(isa: str, form: str) -> None:
    check_step(form, 128, 64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "steps", "inputs", "hidden"), [(1, 1, 1, 1), (3, 4, 37, 21), (70, 8, 128, 64)])
def test_sequences_match_the_oracle(isa: str, form: str, n: int, steps: int, inputs: int, hidden: int) -> None:
    model = model_of(form, inputs, hidden)
    x, h_0 = normal(n, steps, inputs), normal(n, hidden, seed=2)
    states, outputs = model.forward(x, h_0)
    oracle = oracle_of(model, form)
    truth, error = oracle.forward(x, h_0)
    assert np.all(np.abs(states - truth) <= error)
    truth, error = oracle.outputs(truth, error)
    assert np.all(np.abs(outputs - truth) <= error)


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_in_a_batch_equals_the_sequence_alone(isa: str, form: str) -> None:
    model = model_of(form, 37, 21)
    x, h_0 = normal(90, 5, 37), normal(90, 21, seed=2)
    states, outputs = model.forward(x, h_0)
    for i in (0, 15, 50, 51, 89):
        alone_states, alone_outputs = model.forward(x[i : i + 1], h_0[i : i + 1])
        np.testing.assert_array_equal(states[i], alone_states[0])
        np.testing.assert_array_equal(outputs[i], alone_outputs[0])


def test_a_batch_of_steps_is_sequences_of_one(isa: str) -> None:
    model, x, h = model_of("dense"), normal(5, 128), normal(5, 64, seed=2)
    new_h, outputs = model.step_batch(x, h)
    states, sequence_outputs = model.forward(x[:, np.newaxis], h)
    np.testing.assert_array_equal(new_h, states[:, 0])
    np.testing.assert_array_equal(outputs, sequence_outputs[:, 0])


def test_unaligned_starts_give_the_same_bits(isa: str) -> None:
    model, x, h = model_of("sparse", 37, 21), normal(37), normal(21, seed=2)
    new_h, outputs = model.step(x, h)
    for offset in range(1, 16):
        shifted_x, shifted_h = np.empty(37 + offset, np.float32)[offset:], np.empty(21 + offset, np.float32)[offset:]
        shifted_x[:], shifted_h[:] = x, h
        shifted_new_h, shifted_outputs = model.step(shifted_x, shifted_h)
        np.testing.assert_array_equal(shifted_new_h, new_h)
        np.testing.assert_array_equal(shifted_outputs, outputs)


# --- gradients ---


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


# --- forms of the matrices ---


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


def test_a_sparse_w_may_have_empty_rows_and_columns(isa: str) -> None:
    for mask in (np.zeros((21, 37), bool), np.eye(21, 37, dtype=bool), np.eye(21, 37, 36, dtype=bool)):
        model = FastGrnn(37, 21, w_support=mask, heads=())
        model.set_params(model.initial_params(np.random.default_rng(0)))
        x, h = normal(37), normal(21, seed=2)
        oracle = Oracle(model, model.params())
        w = np.zeros(mask.shape)
        w[mask] = oracle.p["w"]
        truth, error = oracle.with_w(w).step(x.astype(np.float64), h.astype(np.float64))
        assert np.all(np.abs(model.step(x, h)[0] - truth) <= error)


def test_low_rank_matrix_approximation(isa: str) -> None:
    """The best rank-r factors of a full U stay within what its dropped singular values allow; full rank is exact."""
    full = model_of("full_u", heads=())
    x, h = normal(128), normal(64, seed=2)
    fields = full.views(full.params())
    left, singular, right = np.linalg.svd(fields["u"].astype(np.float64))
    exact, _ = full.step(x, h)
    _, rounding = Oracle(full, full.params()).step(x.astype(np.float64), h.astype(np.float64))
    for rank in (1, 8, 32, 64):
        model = FastGrnn(u_rank=rank, heads=())
        flat = np.zeros(model.num_params, np.float32)
        views = model.views(flat)
        for name in ("w", "bias_gate", "bias_update", "zeta_raw", "nu_raw"):
            views[name][...] = fields[name]
        views["u1"][...], views["u2"][...] = left[:, :rank] * singular[:rank], right[:rank].T
        model.set_params(flat)
        dropped = singular[rank] if rank < 64 else 0.0  # Eckart-Young: the spectral norm of what is left out
        slope = 2 + (np.abs(h).max() + 1) / 4
        difference = np.abs(model.step(x, h)[0] - exact)
        assert np.all(difference <= slope * dropped * np.linalg.norm(h) + 8 * rounding)


@pytest.mark.parametrize("density", [1e-9, 0.1, 0.25, 1.0])
def test_the_largest_weights_are_kept(density: float) -> None:
    w = normal(30, 17)
    mask = keep_largest(w, density)
    assert mask.sum() == max(1, round(density * w.size))
    assert np.abs(w[mask]).min() >= np.abs(w[~mask]).max(initial=0.0)


def test_ties_keep_the_first() -> None:
    assert keep_largest(np.array([[1.0, -1.0], [1.0, 1.0]]), 0.5).tolist() == [[True, True], [False, False]]


# --- heads and state ---


def test_forward_produces_valid_probabilities(isa: str) -> None:
    model = FastGrnn()
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0, 50.0):
        model.set_params((scale * rng.standard_normal(model.num_params)).astype(np.float32))
        _, outputs = model.step((scale * normal(128)).astype(np.float32), normal(64, seed=2))
        heads = model.split(outputs)
        assert np.all((outputs >= 0.0) & (outputs <= 1.0))
        for name, size in (("tier", 4), ("context", 5)):
            assert abs(heads[name].sum() - 1.0) <= size * EPS
        assert [heads[name].shape for name in ("temperature", "top_p", "confidence")] == [(1,)] * 3


def test_no_logit_overflows(isa: str) -> None:
    model = FastGrnn(1, 1, u_rank=0, heads=[Head("p", 3, "softmax"), Head("s", 2, "sigmoid"), Head("u", 1, "linear")])
    flat = np.zeros(model.num_params, np.float32)
    model.views(flat)["head_bias"][:] = [3e38, -3e38, 0.0, 3e38, -3e38, 3e38]
    model.set_params(flat)
    _, outputs = model.step(np.zeros(1, np.float32), np.zeros(1, np.float32))
    np.testing.assert_allclose(outputs, [1.0, 0.0, 0.0, 1.0, 0.0, np.float32(3e38)], atol=1e-37)


def test_large_softmax_groups_sum_to_one(isa: str) -> None:
    for size in range(1, 70):
        model = model_of("dense", 3, 5, heads=[Head("first", 2, "linear"), Head("p", size, "softmax")])
        _, outputs = model.step(normal(3), normal(5))
        assert abs(model.split(outputs)["p"].sum(dtype=np.float64) - 1.0) <= (size + 2) * EPS


def test_hidden_state_updates_across_calls(isa: str) -> None:
    """The state carries the past: the same input gives another state, which depends on what came before."""
    model, x = model_of("dense"), normal(128)
    first, _ = model.step(x, np.zeros(64, np.float32))
    second, _ = model.step(x, first)
    other, _ = model.step(x, model.step(normal(128, seed=9), np.zeros(64, np.float32))[0])
    assert np.abs(second - first).max() > 1e-3
    assert np.abs(second - other).max() > 1e-3
    states, _ = model.forward(np.stack([x, x])[np.newaxis], np.zeros((1, 64), np.float32))
    assert np.abs(states[0, 1] - second).max() <= 1e-5


def test_the_state_grows_by_at_most_nu_a_step(isa: str) -> None:
    model, x, h_0 = model_of("dense"), 3 * normal(20, 50, 128), 2 * normal(20, 64, seed=2)
    oracle = Oracle(model, model.params())
    states, _ = model.forward(x, h_0)
    start = np.maximum(np.abs(h_0), oracle.zeta)
    for t in range(50):
        assert np.all(np.abs(states[:, t]) <= start + (t + 1) * oracle.nu + 20 * (t + 1) * EPS * start)


def test_a_model_without_heads_has_no_outputs(isa: str) -> None:
    model = model_of("dense", 9, 7, heads=())
    new_h, outputs = model.step(normal(9), normal(7))
    assert (new_h.shape, outputs.shape) == ((7,), (0,))
    assert model.forward(normal(2, 3, 9), normal(2, 7))[1].shape == (2, 3, 0)
    assert model.forward_with_tape(normal(2, 3, 9), normal(2, 7))[2].backward(d_hidden=normal(2, 3, 7)).params.any()


# --- int8 ---


def rounded(matrix: np.ndarray) -> np.ndarray:
    scale = np.float32(np.abs(matrix).max()) / np.float32(127)
    return (np.rint(matrix / scale).astype(np.float64) * scale).astype(np.float64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 1), (37, 21), (128, 64)])
def test_int8_computes_with_rounded_matrices(isa: str, form: str, inputs: int, hidden: int) -> None:
    model = model_of(form, inputs, hidden)
    flat = model.params().astype(np.float64)
    for name, view in model.views(flat).items():
        if name[0] in "wu" or name == "head_weight":
            view[...] = rounded(view.astype(np.float32))
    oracle = Oracle(model, flat)
    if form == "sparse":
        w = np.zeros((hidden, inputs))
        w[mask_of(hidden, inputs)] = oracle.p["w"]
        oracle.with_w(w)
    x, h = normal(inputs), normal(hidden, seed=2)
    new_h, outputs = model.quantize().step(x, h)
    truth, error = oracle.step(x.astype(np.float64), h.astype(np.float64))
    assert np.all(np.abs(new_h - truth) <= error)
    truth, error = oracle.outputs(truth, error)
    assert np.all(np.abs(outputs - truth) <= error)


def default_router() -> FastGrnn:
    model = FastGrnn(w_support=mask_of(64, 128, 0.1))
    model.set_params(model.initial_params(np.random.default_rng(0)))
    return model


def test_the_int8_router_fits_six_kilobytes() -> None:
    assert default_router().quantize().weight_bytes <= 6 * 1024


def test_int8_stays_within_half_a_step_of_every_weight(isa: str) -> None:
    model = default_router()
    x, h = normal(128), normal(64, seed=2)
    p = Oracle(model, model.params()).p
    half = {name: np.abs(p[name]).max() / 254 for name in ("w", "u1", "u2")}
    w_loss = half["w"] * (mask_of(64, 128, 0.1) @ np.abs(x))
    q, q_loss = p["u2"].T @ h, half["u2"] * np.abs(h).sum()
    u_loss = np.abs(p["u1"]).sum(1) * q_loss + half["u1"] * (np.abs(q) + q_loss).sum()
    slope = 2 + (np.abs(h) + 1) / 4
    assert np.all(np.abs(model.quantize().step(x, h)[0] - model.step(x, h)[0]) <= slope * (w_loss + u_loss) + 1e-5)


# --- parameters ---


def test_the_layout_covers_the_buffer_once() -> None:
    for form in FORMS:
        model = model_of(form)
        ends = [piece.stop for piece, _ in model.layout.values()]
        starts = [piece.start for piece, _ in model.layout.values()]
        assert starts == [0, *ends[:-1]]
        assert ends[-1] == model.num_params
        np.testing.assert_array_equal(
            np.concatenate([v.ravel() for v in model.views(model.params()).values()]), model.params()
        )


def test_setting_parameters_copies_them() -> None:
    model = FastGrnn(3, 2, u_rank=1)
    flat = model.initial_params(np.random.default_rng(0))
    model.set_params(flat)
    kept = flat.copy()
    flat[:] = 0.0
    np.testing.assert_array_equal(model.params(), kept)


def test_a_swap_is_seen_whole_or_not_at_all(isa: str) -> None:
    model, x, h_0 = FastGrnn(heads=()), normal(40, 1, 128), normal(40, 64, seed=2)
    sets = [model.initial_params(np.random.default_rng(seed)) for seed in (0, 1)]
    expected = []
    for flat in sets:
        model.set_params(flat)
        expected.append(model.forward(x, h_0)[0])
    done = threading.Event()

    def swap() -> None:
        for flat in itertools.cycle(sets):
            if done.is_set():
                return
            model.set_params(flat)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = [model.forward(x, h_0)[0] for _ in range(200)]
    done.set()
    thread.join()
    assert all(any(np.array_equal(states, old) for old in expected) for states in seen)


# --- bad input ---

F = np.float32
X, H = np.zeros(3, F), np.zeros(2, F)
NAN, INF = np.array([0, np.nan, 0], F), np.array([0, np.inf], F)


@pytest.mark.parametrize(
    ("x", "h", "error", "says"),
    [
        ([0.0] * 3, H, TypeError, r"x must be a numpy array \(list\)"),
        (np.zeros(3), H, ValueError, r"x must have dtype float32 \(float64\)"),
        (np.zeros(4, F), H, ValueError, r"x must have 3 entries \(4\)"),
        (np.zeros((1, 3), F), H, ValueError, r"x must have 1 dimensions \(2\)"),
        (np.zeros(6, F)[::2], H, ValueError, "x must be C-contiguous"),
        (NAN, H, ValueError, "x must be finite: entry 1"),
        (X, INF, ValueError, "h must be finite: entry 1"),
        (X, X, ValueError, r"h must have 2 entries \(3\)"),
        (X, None, TypeError, "h must be a numpy array"),
    ],
)
def test_a_bad_step_is_refused(isa: str, x: Any, h: Any, error: type[Exception], says: str) -> None:
    model = FastGrnn(3, 2, u_rank=1)
    for step in (model.step, model.quantize().step):
        with pytest.raises(error, match=says):
            step(x, h)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"input_size": 0}, ValueError, r"input_size must be in \[1, 16384\] \(0\)"),
        ({"hidden_size": -1}, ValueError, r"hidden_size must be in \[1, 16384\] \(-1\)"),
        ({"hidden_size": 10**9}, ValueError, "hidden_size must be in"),
        ({"input_size": 1.5}, TypeError, "incompatible constructor arguments"),
        ({"u_rank": 3}, ValueError, r"u_rank must be in \[0, 2\] \(3\)"),
        ({"w_rank": 3}, ValueError, r"w_rank must be in \[0, 2\] \(3\)"),
        ({"w_rank": 1, "w_support": np.ones((2, 3), bool)}, ValueError, "w_support must be None when w_rank is given"),
        ({"w_support": np.ones((3, 2), bool)}, ValueError, r"w_support must have 2 rows \(3\)"),
        ({"w_support": np.ones((2, 3))}, ValueError, r"w_support must have dtype bool \(float64\)"),
        ({"heads": [Head("a", 0, "softmax")]}, ValueError, r"size of a head must be in \[1, 16384\] \(0\)"),
        ({"heads": [Head("a", 1, "relu")]}, ValueError, r"activation must be softmax, sigmoid or linear \(relu\)"),
        ({"heads": [Head("a", 16384, "linear"), Head("b", 1, "linear")]}, ValueError, r"outputs of all .* \(16385\)"),
        ({"heads": [Head("a", 1, "linear"), Head("a", 1, "linear")]}, ValueError, "heads must have different names"),
        ({"dtype": np.float16}, ValueError, r"dtype must be float32 or float64 \(float16\)"),
    ],
)
def test_a_bad_model_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        FastGrnn(**({"input_size": 3, "hidden_size": 2, "u_rank": 1} | options))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": np.zeros((2, 3), F)}, ValueError, r"x must have 3 dimensions \(2\)"),
        ({"x": np.zeros((2, 0, 3), F)}, ValueError, "x must hold a sequence of at least one step"),
        ({"x": np.zeros((0, 1, 3), F), "h_0": np.zeros((0, 2), F)}, ValueError, "x must hold a sequence"),
        ({"x": np.full((2, 4, 3), np.inf, F)}, ValueError, "x must be finite: entry 0"),
        ({"h_0": np.zeros((3, 2), F)}, ValueError, r"h_0 must have 2 rows \(3\)"),
        ({"h_0": np.full((2, 2), np.nan, F)}, ValueError, "h_0 must be finite"),
        ({"d_logits": np.zeros((2, 4, 3), F)}, ValueError, "d_logits must have 12 columns"),
        ({"d_logits": np.full((2, 4, 12), np.nan, F)}, ValueError, "d_logits must be finite"),
        ({"d_hidden": np.zeros((2, 4, 2))}, ValueError, "d_hidden must have dtype float32"),
        ({"d_hidden": np.full((2, 4, 2), np.nan, F)}, ValueError, "d_hidden must be finite"),
    ],
)
def test_a_bad_batch_is_refused(change: dict[str, Any], error: type[Exception], says: str) -> None:
    good = {"x": np.zeros((2, 4, 3), F), "h_0": np.zeros((2, 2), F), "d_logits": None, "d_hidden": None} | change
    with pytest.raises(error, match=says):
        _, _, tape = FastGrnn(3, 2, u_rank=1).forward_with_tape(good["x"], good["h_0"])
        tape.backward(d_logits=good["d_logits"], d_hidden=good["d_hidden"])


def test_a_model_of_gigabytes_is_refused() -> None:
    with pytest.raises(ValueError, match="parameters of input_size, hidden_size must be in"):
        FastGrnn(16384, 16384, u_rank=0)


def test_a_batch_of_steps_has_two_dimensions() -> None:
    model = model_of("dense", 3, 2)
    with pytest.raises(ValueError, match=r"x must have 2 dimensions \(1\)"):
        model.step_batch(np.zeros(3, np.float32), np.zeros((1, 2), np.float32))
    with pytest.raises(TypeError, match=r"x must be a numpy array \(list\)"):
        model.step_batch([[0.0] * 3], np.zeros((1, 2), np.float32))  # type: ignore[arg-type]


def test_the_smallest_weights_are_rounded_without_dividing_by_zero() -> None:
    model = FastGrnn(3, 2, u_rank=0)
    model.set_params(np.full(model.num_params, 1e-45, np.float32))
    x, h = np.ones(3, np.float32), np.zeros(2, np.float32)
    for found, wanted in zip(model.quantize().step(x, h), model.step(x, h), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_bad_parameters_leave_the_old_ones(isa: str) -> None:
    model = model_of("dense", 3, 2)
    before = model.params()
    for flat, says in (
        (before[:-1].copy(), "params must have"),
        (np.full_like(before, np.nan), "params must be finite"),
    ):
        with pytest.raises(ValueError, match=says):
            model.set_params(flat)
    with pytest.raises(ValueError, match="flat must have shape"):
        model.views(before[1:])
    np.testing.assert_array_equal(model.params(), before)


def test_what_cannot_be_pruned_or_rounded_is_refused() -> None:
    for w_density in (0.0, 1.1, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"w_density must be in \(0, 1\]"):
            keep_largest(np.ones((2, 2)), w_density)
    for w in (np.empty((0, 3)), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="w must hold numbers"):
            keep_largest(w, 0.5)
    with pytest.raises(TypeError, match=r"w must be an array of floats \(list\)"):
        keep_largest([1.0, 2.0], 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype must be float32 to quantize"):
        FastGrnn(3, 2, u_rank=1, dtype=np.float64).quantize()


def test_instruction_sets_agree_up_to_rounding(isa: str) -> None:
    model, x, h = model_of("sparse"), normal(128), normal(64, seed=2)
    new_h, _ = model.step(x, h)
    kernels._use_isa("scalar")
    reference, _ = model.step(x, h)
    _, error = oracle_of(model, "sparse").step(x.astype(np.float64), h.astype(np.float64))
    assert np.all(np.abs(new_h - reference) <= 2 * error)
