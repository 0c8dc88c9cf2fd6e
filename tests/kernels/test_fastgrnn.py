"""The FastGRNN cell against a float64 oracle, on every instruction set."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from kernels.fastgrnn_cases import FORMS, model_of, normal, oracle_of
from kernels.fastgrnn_oracle import EPS, Oracle
from kernels.unaligned import shifted
from ruvllm import kernels
from ruvllm.kernels import FastGrnn, Head, keep_largest

UNROLLED = 64  # hidden units of a block of the one-step kernel: every tail lies below twice this


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
    for hidden in range(1, 2 * UNROLLED + 1):
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


@pytest.mark.parametrize("form", FORMS)
def test_unaligned_starts_give_the_same_bits(isa: str, form: str) -> None:
    model, x, h = model_of(form, 37, 21), normal(37), normal(21, seed=2)
    small = model.quantize()
    expected, expected_small = model.step(x, h), small.step(x, h)
    for offset in range(1, 16):
        moved = shifted(x, offset), shifted(h, offset)
        for got, want in zip((*model.step(*moved), *small.step(*moved)), (*expected, *expected_small), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("form", FORMS)
def test_unaligned_batches_give_the_same_bits(isa: str, form: str) -> None:
    model = model_of(form, 37, 21)
    arrays = (
        normal(5, 3, 37),
        normal(5, 21, seed=2),
        normal(5, 3, model.num_outputs, seed=3),
        normal(5, 3, 21, seed=4),
    )

    def run(x: np.ndarray, h_0: np.ndarray, d_logits: np.ndarray, d_hidden: np.ndarray) -> list[np.ndarray]:
        states, outputs, tape = model.forward_with_tape(x, h_0)
        found = tape.backward(d_logits=d_logits, d_hidden=d_hidden, want_d_x=True)
        assert found.x is not None
        return [*model.forward(x, h_0), states, outputs, found.params, found.h_0, found.x]

    expected = run(*arrays)
    for offset in range(1, 16):
        for got, want in zip(run(*(shifted(each, offset) for each in arrays)), expected, strict=True):
            np.testing.assert_array_equal(got, want)


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


def test_instruction_sets_agree_up_to_rounding(isa: str) -> None:
    model, x, h = model_of("sparse"), normal(128), normal(64, seed=2)
    new_h, _ = model.step(x, h)
    kernels._use_isa("scalar")
    reference, _ = model.step(x, h)
    _, error = oracle_of(model, "sparse").step(x.astype(np.float64), h.astype(np.float64))
    assert np.all(np.abs(new_h - reference) <= 2 * error)
