"""A million items through a reservoir of 10 000: in one batch, and one by one from Python."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np

from ruvllm.bench.report import Row
from ruvllm.bench.timing import race
from ruvllm.kernels import Reservoir

__all__ = [
    "CAPACITY",
    "PythonReservoir",
    "add_batch",
    "add_labelled_batch",
    "add_singles",
    "add_weighted_batch",
    "numpy_batch",
    "python_algorithm_l",
    "rows",
]

CAPACITY = 10_000


def rows() -> Iterator[Row]:
    """Yield the times of a million adds."""
    n = 1_000_000
    batch_peers = {"NumPy, algorithm R": lambda: numpy_batch(n), "Python, algorithm L": lambda: python_algorithm_l(n)}
    single_peers = {"Python class, algorithm R": lambda: add_singles(PythonReservoir(CAPACITY), n)}
    labels, weights = np.random.default_rng(0).integers(0, 4, n), np.random.default_rng(0).random(n) + 0.1
    yield race("reservoir, 1 M adds in a batch", lambda: add_batch(n), batch_peers, unit="ms", target=4.0)
    yield race("reservoir, the same in 4 classes", lambda: add_labelled_batch(labels), {}, unit="ms")
    yield race("reservoir, the same with weights", lambda: add_weighted_batch(weights), {}, unit="ms")
    yield race(
        "reservoir, 1 M single adds", lambda: add_singles(Reservoir(CAPACITY), n), single_peers, unit="ms", target=40.0
    )


def add_batch(n: int) -> None:
    Reservoir(CAPACITY).add_many(n)


def add_labelled_batch(labels: np.ndarray) -> None:
    Reservoir(CAPACITY).add_many(len(labels), labels=labels)


def add_weighted_batch(weights: np.ndarray) -> None:
    Reservoir(CAPACITY, weighted=True).add_many(len(weights), weights=weights)


def add_singles(reservoir: Reservoir | PythonReservoir, n: int) -> None:
    add = reservoir.add
    for _ in range(n):
        add()


class PythonReservoir:
    """The peer: algorithm R, one random number an item."""

    def __init__(self, capacity: int) -> None:
        self._items: list[int] = []
        self._capacity, self._num_seen = capacity, 0

    def add(self) -> None:
        item = self._num_seen
        self._num_seen += 1
        if len(self._items) < self._capacity:
            self._items.append(item)
            return
        slot = int(random.random() * self._num_seen)
        if slot < self._capacity:
            self._items[slot] = item


def python_algorithm_l(n: int) -> list[int]:
    """The peer: the algorithm of ours, with its skips, in plain Python."""
    uniform, log = random.random, math.log
    items = list(range(CAPACITY))
    w, i = math.exp(log(uniform()) / CAPACITY), CAPACITY - 1
    while True:
        i += int(log(uniform()) / math.log1p(-w)) + 1
        if i >= n:
            return items
        items[int(uniform() * CAPACITY)] = i
        w *= math.exp(log(uniform()) / CAPACITY)


def numpy_batch(n: int) -> np.ndarray:
    """The peer: algorithm R in a few passes; of several items for one slot the last is written."""
    numbers = np.arange(CAPACITY, n)
    slots = (np.random.default_rng(1).random(n - CAPACITY) * (numbers + 1)).astype(np.int64)
    is_kept = slots < CAPACITY
    items = np.arange(CAPACITY)
    items[slots[is_kept]] = numbers[is_kept]
    return items
