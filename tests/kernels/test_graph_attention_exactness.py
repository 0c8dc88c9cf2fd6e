"""Graph attention on every instruction set against its definition in float64, entry by entry."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kernels.attention_cases import (
    EPS,
    SIZES,
    everything,
    in_double,
    make_case,
    random_engine,
    random_inputs,
)
from ruvllm import kernels

# (which SIZES, nodes, edges): every small engine on every small graph, the real sizes once
CASES = [*itertools.product(range(5), (1, 5, 9), (0, 2, 40)), (5, 50, 100), (6, 9, 20)]


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
