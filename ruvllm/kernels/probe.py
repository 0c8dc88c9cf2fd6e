"""The ceilings of one thread of this machine, measured: how fast memory is read and how fast floats are multiplied."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ruvllm.kernels.loaded import core

__all__ = ["fma_rate", "read_bandwidth"]

REPEATS = 9
STEPS = 200_000  # about 2 ms of multiply-adds


def read_bandwidth(num_bytes: int, num_threads: int = 1) -> float:
    """Return the bytes a second at which threads read an array of `num_bytes` each, again and again, at best.

    Arrays far larger than the caches measure memory, smaller ones the cache that holds them.

    Raises:
        ValueError: `num_bytes` is below 4096, where the call itself would be measured, or `num_threads` below 1.
    """
    if num_bytes < 4096:
        raise ValueError(f"num_bytes must be >= 4096 ({num_bytes})")
    if num_threads < 1:
        raise ValueError(f"num_threads must be >= 1 ({num_threads})")
    arrays = [np.ones(num_bytes // 4, np.float32) for _ in range(num_threads)]  # not zeros: the pages must exist
    passes = max(1, (1 << 24) // arrays[0].nbytes)  # at least 16 MiB between two looks at the clock

    def read(values: np.ndarray) -> None:
        for _ in range(passes):
            core.read_all(values)

    with ThreadPoolExecutor(num_threads) as threads:
        read_all = (lambda: read(arrays[0])) if num_threads == 1 else (lambda: list(threads.map(read, arrays)))
        return num_threads * passes * arrays[0].nbytes / _least_seconds(read_all)


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
