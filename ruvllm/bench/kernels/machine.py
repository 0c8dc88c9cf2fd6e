"""What one thread of this machine can do at most: the floors that kernel benchmarks are held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ruvllm.kernels.probe import fma_rate, read_bandwidth

__all__ = ["Ceilings", "ceilings"]

MEMORY_BYTES = 256 << 20  # more than the caches keep of it
CACHE_BYTES = 8 << 20  # more than the second-level cache, less than the last one


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Best rates of one thread with the instruction set in use; on a busy machine they come out too low."""

    bandwidth_bytes_per_s: float
    cache_bandwidth_bytes_per_s: float
    flops_per_s: float

    def floor_s(self, *, read_bytes: float = 0.0, cached_bytes: float = 0.0, flops: float = 0.0) -> float:
        """Return the least seconds for work that reads from memory and from cache and computes, all overlapped."""
        return max(
            read_bytes / self.bandwidth_bytes_per_s,
            cached_bytes / self.cache_bandwidth_bytes_per_s,
            flops / self.flops_per_s,
        )


@cache
def ceilings() -> Ceilings:
    """Measure once a process, in about half a second."""
    return Ceilings(
        bandwidth_bytes_per_s=read_bandwidth(MEMORY_BYTES),
        cache_bandwidth_bytes_per_s=read_bandwidth(CACHE_BYTES),
        flops_per_s=fma_rate(),
    )
