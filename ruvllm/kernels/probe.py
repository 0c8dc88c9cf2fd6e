"""The ceilings of one thread of this machine, measured: how fast memory is read and how fast floats are multiplied."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ruvllm.kernels.loaded import core

__all__ = ["fma_rate", "read_bandwidth"]

REPEATS = 9
STEPS = 200_000  # about 2 ms of multiply-adds


def read_bandwidth(num_bytes: int) -> float:
    """Return the bytes a second at which one thread reads an array of `num_bytes` again and again, at best.

    An array far larger than the caches measures memory, a smaller one the cache that holds it.

    Raises:
        ValueError: `num_bytes` is below 4096, where the call itself would be measured.
    """
    if num_bytes < 4096:
        raise ValueError(f"num_bytes must be >= 4096 ({num_bytes})")
    values = np.ones(num_bytes // 4, np.float32)  # ones, not zeros: the pages must exist
    passes = max(1, (1 << 24) // values.nbytes)  # at least 16 MiB between two looks at the clock

    def read() -> None:
        for _ in range(passes):
            core.read_all(values)

    return passes * values.nbytes / _least_seconds(read)


def fma_rate() -> float:
    """Return the float32 operations a second of one thread, at best; a multiply-add counts as two."""
    values = np.ones(core.probe_chains, np.float32)
    seconds = _least_seconds(lambda: core.multiply_add(values, STEPS, 0.5, 1.0))
    return 2.0 * values.size * STEPS / seconds


def _least_seconds(call: Callable[[], object]) -> float:
    call()
    least = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - started)
    return least
