"""Graph attention on every instruction set against its definition in float64, entry by entry."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from kernels.attention_cases import (
    EPS,
    SIZES,
    Case,
    Inputs,
    everything,
    graph_of,
    in_double,
    loss_of,
    random_engine,
    random_inputs,
)
from kernels.unaligned import shifted
from ruvllm import kernels

# every small engine on every small graph, the real sizes once
CASES = [Case(**SIZES[i], n=n, num_edges=m) for i in range(5) for n in (1, 5, 9) for m in (0, 2, 40)]
CASES += [Case(**SIZES[5], n=50, num_edges=100), Case(**SIZES[6], n=9, num_edges=20)]
HEAD_DIMS = [*range(1, 40), 64, 96, 128]
SAMPLES = 8
SIGNS = np.array([-1.0, 1.0], np.float32)


@contextmanager
def scalar_isa() -> Iterator[None]:
    before = kernels.isa()
    kernels._use_isa("scalar")
    yield
    kernels._use_isa(before)


def root_mean_square(samples: list[np.ndarray]) -> np.ndarray:
    return np.sqrt(np.mean(np.square(samples), axis=0))


@functools.cache  # serves every instruction set
def exact_and_tolerance(case: Case) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`everything` by the definition in float64, and how far float32 may be off at each entry.

    Measured per entry, over SAMPLES runs with every parameter and input moved by 16 eps up or down at random:
        sensitivity: the root mean square of how far the result moves, for one eps
        rounding: that of what the scalar definition in float32 is off from the one in float64, at the same numbers
    Rounding errors are many, small and without a preferred sign, so another order of the same sums stays within a few
    such deviations: 24 of them (a build for the sanitizers needed 13), and 6 of what is usual in the array, for
    entries whose terms cancel in every sample.
    Above all no entry may pass the bound of k * eps for sums of k products (Higham 2002, section 3.1) at the most
    sensitive entry of its array, or of all arrays where this one is 0 by structure (one node, one dimension).
    """
    engine, double, inputs = case.engine(), case.engine(np.float64), case.inputs()
    flat, rng = engine.params(), np.random.default_rng(11)

    def moved(x: np.ndarray) -> np.ndarray:
        return x * (1 + np.float32(16 * EPS) * rng.choice(SIGNS, x.shape)) if x.dtype == np.float32 else x

    def in_both(flat: np.ndarray, inputs: Inputs) -> tuple[list[np.ndarray], list[np.ndarray]]:
        engine.set_params(flat)
        double.set_params(flat.astype(np.float64))
        return everything(engine, inputs), everything(double, in_double(inputs))

    with scalar_isa():
        _, exact = in_both(flat, inputs)
        runs = [in_both(moved(flat), {name: moved(x) for name, x in inputs.items()}) for _ in range(SAMPLES)]
    sensitivity = [root_mean_square([r[1][i] - x for r in runs]) / 16 for i, x in enumerate(exact)]
    rounding = [root_mean_square([r[0][i] - r[1][i] for r in runs]) for i in range(len(exact))]
    largest = [s.max(initial=0.0) for s in sensitivity]
    longest_sum = max(case.dim, 3 * case.width, case.n + case.num_edges) + 16  # and some steps beside it
    tolerances = []
    for s, r, most in zip(sensitivity, rounding, largest, strict=True):
        if most > 1e-9 * max(largest):
            usual = np.sqrt(np.square(r).sum() / max(r.size, 1))
            tolerances.append(np.minimum(24 * (s + r + usual / 4), longest_sum * most))
        else:
            tolerances.append(np.full_like(s, longest_sum * max(largest)))
    return exact, tolerances


def check(case: Case) -> None:
    exact, tolerances = exact_and_tolerance(case)
    for got, want, bound in zip(everything(case.engine(), case.inputs()), exact, tolerances, strict=True):
        off = np.abs(got - want)
        assert np.all(off <= bound), f"{case}: {(off - bound).max():.3g} above the bound"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_and_gradients_match_the_definition_in_float64(isa: str, case: Case) -> None:
    check(case)


@pytest.mark.parametrize("num_heads", [1, 3, 4, 17])  # below, at and above the lanes that a softmax takes at once
def test_every_head_dim_matches_the_definition_in_float64(isa: str, num_heads: int) -> None:
    for head_dim in HEAD_DIMS:
        check(Case(dim=8, width=num_heads * head_dim, num_heads=num_heads, num_layers=1, n=4, num_edges=6))


def test_instruction_sets_agree_up_to_rounding(isa: str) -> None:
    case = CASES[-2]
    _, tolerances = exact_and_tolerance(case)
    found = everything(case.engine(), case.inputs())
    with scalar_isa():
        reference = everything(case.engine(), case.inputs())
    for got, want, bound in zip(found, reference, tolerances, strict=True):
        assert np.all(np.abs(got - want) <= 2 * bound)


@pytest.mark.parametrize("offset", range(1, 16))
def test_unaligned_starts_give_the_same_bits(isa: str, offset: int) -> None:
    case = Case(dim=40, width=36, num_heads=3, num_layers=2, n=9, num_edges=30)
    engine, inputs = case.engine(), case.inputs()
    moved = {name: shifted(x, offset) for name, x in inputs.items()}
    expected, found = engine.forward(**inputs, keep=True), engine.forward(**moved)
    np.testing.assert_array_equal(found.weights, expected.weights)
    np.testing.assert_array_equal(found.attended, expected.attended)
    np.testing.assert_array_equal(engine.encode(**graph_of(moved)), engine.encode(**graph_of(inputs)))
    grad_weights, grad_attended = loss_of(engine, inputs)
    assert expected.tape is not None
    want = engine.backward(expected.tape, grad_weights=grad_weights, grad_attended=grad_attended)
    tape = engine.forward(**moved, keep=True).tape
    assert tape is not None
    got = engine.backward(
        tape, grad_weights=shifted(grad_weights, offset), grad_attended=shifted(grad_attended, offset)
    )
    for field in ("params", "nodes", "edge_features", "query", "node_features"):
        np.testing.assert_array_equal(getattr(got, field), getattr(want, field))


def test_threads_change_nothing(isa: str) -> None:
    engine, calls = random_engine(64), [random_inputs(n, 3 * n, dim=64, features=(5, 3), seed=n) for n in range(1, 60)]
    alone = [engine.forward(**inputs) for inputs in calls]
    with ThreadPoolExecutor(4) as pool:
        for one, many in zip(alone * 3, pool.map(lambda inputs: engine.forward(**inputs), calls * 3), strict=True):
            np.testing.assert_array_equal(one.weights, many.weights)
            np.testing.assert_array_equal(one.attended, many.attended)
