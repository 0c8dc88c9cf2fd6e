"""The probes compute what they say, on every instruction set, and measure something that can be true."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.kernels.loaded import core
from ruvllm.kernels.probe import fma_rate, read_bandwidth

EPS = float(np.finfo(np.float32).eps)
UNROLLED = 128  # eight of the widest vectors


def test_every_value_is_read_once(isa: str) -> None:
    values = np.random.default_rng(0).standard_normal(2 * UNROLLED + 1).astype(np.float32)
    for n in range(len(values) + 1):
        exact, magnitude = values[:n].sum(dtype=np.float64), np.abs(values[:n]).sum(dtype=np.float64)
        assert abs(core.read_all(values[:n]) - exact) <= n * EPS * magnitude


@pytest.mark.parametrize("steps", [0, 1, 2, 50])
def test_every_chain_is_multiplied_and_added(isa: str, steps: int) -> None:
    start = np.random.default_rng(0).standard_normal(core.probe_chains).astype(np.float32)
    values, exact = start.copy(), start.astype(np.float64)
    core.multiply_add(values, steps, -0.5, 1.0)
    for _ in range(steps):
        exact = -0.5 * exact + 1.0
    # at most one rounding of the product and one of the sum a step, each halved by every later step
    assert np.all(np.abs(values - exact) <= 4 * EPS * (1.0 + np.abs(start)))


def test_rates_are_those_of_a_processor(isa: str) -> None:
    assert 1e8 < read_bandwidth(1 << 22) < 1e13
    assert 1e8 < read_bandwidth(1 << 22, num_threads=2) < 1e13
    assert 1e8 < fma_rate() < 1e13


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: read_bandwidth(0), ValueError, r"num_bytes must be >= 4096 \(0\)"),
        (lambda: read_bandwidth(4096, 0), ValueError, r"num_threads must be >= 1 \(0\)"),
        (lambda: core.read_all(np.zeros(4)), ValueError, r"values must have dtype float32 \(float64\)"),
        (lambda: core.multiply_add(np.zeros(4, np.float32), 1, 0.5, 1.0), ValueError, r"values must have .* \(4\)"),
        (lambda: core.multiply_add(np.zeros(192, np.float32), -1, 0.5, 1.0), ValueError, r"steps must be >= 0 \(-1\)"),
    ],
)
def test_bad_input_is_refused_by_name(call: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()  # type: ignore[operator]
