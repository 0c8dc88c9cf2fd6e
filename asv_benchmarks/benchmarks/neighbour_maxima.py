"""What each of 256 candidates of a question is linked with, by 8 sorts of links: the kernel beside numpy."""

from __future__ import annotations

import numpy as np

from ruvllm import kernels

NUM_NODES, NUM_LINKS, NUM_GROUPS, NUM_VALUES = 256, 2048, 8, 2


class NeighbourMaxima:
    param_names = ("by",)
    params = (["ruvllm", "numpy"],)

    def setup(self, by: str) -> None:
        rng = np.random.default_rng(0)
        rows = np.sort(rng.integers(0, NUM_NODES, NUM_LINKS))
        self.indptr = np.searchsorted(rows, np.arange(NUM_NODES + 1))
        self.indices = rng.integers(0, NUM_NODES, NUM_LINKS, dtype=np.int32)
        self.groups = rng.integers(0, NUM_GROUPS, NUM_LINKS, dtype=np.uint8)
        self.values = rng.random((NUM_NODES, NUM_VALUES), dtype=np.float32)
        self.call = self.kernel if by == "ruvllm" else self.numpy

    def time_maxima(self, by: str) -> None:
        self.call()

    def kernel(self) -> np.ndarray:
        return kernels.neighbour_maxima(self.indptr, self.indices, self.groups, self.values, num_groups=NUM_GROUPS)

    def numpy(self) -> np.ndarray:
        maxima = np.zeros((NUM_NODES, NUM_GROUPS, NUM_VALUES), np.float32)
        rows = np.repeat(np.arange(NUM_NODES), np.diff(self.indptr))
        np.maximum.at(maxima, (rows, self.groups), self.values[self.indices])
        return maxima
