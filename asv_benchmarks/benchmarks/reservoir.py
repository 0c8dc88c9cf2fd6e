"""A million items through a reservoir, beside NumPy and Python; RUVLLM_BENCH_SMALL=1 takes a tenth."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ruvllm.bench.kernels.reservoir import (
    CAPACITY,
    PythonReservoir,
    add_batch,
    add_labelled_batch,
    add_singles,
    add_weighted_batch,
    numpy_batch,
    python_algorithm_l,
)
from ruvllm.kernels import Reservoir

N = 100_000 if os.environ.get("RUVLLM_BENCH_SMALL") else 1_000_000

BATCHES: dict[str, Callable[[int], object]] = {
    "ruvllm": add_batch,
    "NumPy, algorithm R": numpy_batch,
    "Python, algorithm L": python_algorithm_l,
}


class ReservoirBatch:
    """All at once."""

    param_names = ("by",)
    params = (list(BATCHES),)

    def time_add_many(self, by: str) -> None:
        BATCHES[by](N)


class ReservoirKinds:
    """All at once, in four classes, and with weights."""

    def setup(self) -> None:
        self.labels, self.weights = np.random.default_rng(0).integers(0, 4, N), np.random.default_rng(0).random(N) + 0.1

    def time_four_classes(self) -> None:
        add_labelled_batch(self.labels)

    def time_weights(self) -> None:
        add_weighted_batch(self.weights)


class ReservoirSingles:
    """One call an item, in a Python loop."""

    param_names = ("by",)
    params = (["ruvllm", "Python, algorithm R"],)

    def time_add(self, by: str) -> None:
        add_singles(Reservoir(CAPACITY) if by == "ruvllm" else PythonReservoir(CAPACITY), N)


class ReservoirBytes:
    """Save and restore."""

    def setup(self) -> None:
        self.reservoir = Reservoir(CAPACITY)
        self.reservoir.add_many(N)
        self.saved = self.reservoir.snapshot()

    def time_snapshot(self) -> None:
        self.reservoir.snapshot()

    def time_restore(self) -> None:
        Reservoir.restore(self.saved)
