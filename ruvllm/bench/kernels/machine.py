"""What one thread of this machine can do at most: the floors that kernel benchmarks are held against."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np

from ruvllm.bench.timing import Call
from ruvllm.kernels.probe import fma_rate, read_bandwidth

__all__ = ["Ceilings", "ceilings"]

MEMORY_BYTES = 256 << 20  # more than the caches keep of it
CACHE_BYTES = 8 << 20  # more than the second-level cache, less than the last one


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Best rates of one thread with the instruction set in use; on a busy machine they come out too low."""

    bandwidth_bytes_per_s: float
    update_bandwidth_bytes_per_s: float  # read and written back; higher where writes do not wait for reads
    cache_bandwidth_bytes_per_s: float
    flops_per_s: float

    def floor_s(
        self, *, read_bytes: float = 0.0, moved_bytes: float = 0.0, cached_bytes: float = 0.0, flops: float = 0.0
    ) -> float:
        """Return the least seconds for work that does all of this at once.

        Args:
            read_bytes: read from memory.
            moved_bytes: read from memory or written to it, by work that does both.
            cached_bytes: read from the last cache.
            flops: multiplications and additions.
        """
        return max(
            read_bytes / self.bandwidth_bytes_per_s,
            moved_bytes / max(self.bandwidth_bytes_per_s, self.update_bandwidth_bytes_per_s),
            cached_bytes / self.cache_bandwidth_bytes_per_s,
            flops / self.flops_per_s,
        )


@cache
def ceilings() -> Ceilings:
    """Measure once a process, in about half a second."""
    return Ceilings(
        bandwidth_bytes_per_s=read_bandwidth(MEMORY_BYTES),
        update_bandwidth_bytes_per_s=_update_bandwidth(),
        cache_bandwidth_bytes_per_s=read_bandwidth(CACHE_BYTES),
        flops_per_s=fma_rate(),
    )


def _update_bandwidth() -> float:
    values = np.ones(MEMORY_BYTES // 4, np.float32)
    fastest = min(_seconds(lambda: np.multiply(values, np.float32(1.0), out=values)) for _ in range(5))
    return 2 * values.nbytes / fastest


def _seconds(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
