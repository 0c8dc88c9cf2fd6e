"""Decay of ten million edges in place: the plain form, and with types, counts and a mask of what may be pruned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ruvllm import kernels
from ruvllm.bench.kernels.machine import ceilings
from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race

__all__ = ["FULL_BYTES", "Columns", "columns", "full", "numexpr_plain", "numpy_full", "numpy_plain", "plain", "rows"]

NUM_EDGES, NUM_TYPES = 10_000_000, 7
NOW, HALF_LIFE_S = 1e6, 1e8  # weights stay normal over the many rounds of a benchmark
FLOOR, MIN_INTERACTIONS = 1e-6, 5
PLAIN_BYTES = 12  # weight read and written, last use read
FULL_BYTES = 12 + 1 + 4 + 2  # and type, counts; the mask written, which reads it first


@dataclass(frozen=True, slots=True)
class Columns:
    """Edges as the graph keeps them."""

    weights: np.ndarray
    last_used: np.ndarray
    types: np.ndarray
    counts: np.ndarray
    half_life_s: np.ndarray
    is_prunable: np.ndarray


def rows() -> Iterator[Row]:
    """Yield both forms."""
    edges = columns(NUM_EDGES)
    peers = {"NumPy in place": numpy_plain(edges)}
    if (call := numexpr_plain(edges)) is not None:
        peers["numexpr, 2 threads"] = call
    yield race(
        "edge decay, 10 M edges, plain",
        plain(edges),
        peers,
        unit="ms",
        target=3.8,
        floor_s=ceilings().floor_s(moved_bytes=PLAIN_BYTES * NUM_EDGES),
    )
    yield race(
        "edge decay, 10 M edges, with types, counts and mask",
        full(edges),
        {"NumPy in place": numpy_full(edges)},
        unit="ms",
        target=6.3,
        floor_s=ceilings().floor_s(moved_bytes=FULL_BYTES * NUM_EDGES),
    )


def columns(n: int) -> Columns:
    rng = np.random.default_rng(0)
    return Columns(
        rng.random(n, dtype=np.float32),
        rng.random(n, dtype=np.float32) * np.float32(NOW),
        rng.integers(0, NUM_TYPES, n).astype(np.uint8),
        rng.integers(0, 9, (n, 2)).astype(np.uint16),
        np.full(NUM_TYPES, HALF_LIFE_S, np.float32),
        np.empty(n, np.bool_),
    )


def plain(edges: Columns) -> Call:
    return lambda: kernels.edge_decay(edges.weights, edges.last_used, now=NOW, half_life_s=HALF_LIFE_S)


def full(edges: Columns) -> Call:
    return lambda: kernels.edge_decay_and_mark(
        edges.weights,
        edges.last_used,
        edges.types,
        edges.counts,
        now=NOW,
        half_life_s=edges.half_life_s,
        floor=FLOOR,
        min_interactions=MIN_INTERACTIONS,
        out=edges.is_prunable,
    )


def numpy_plain(edges: Columns) -> Call:
    """The peer: three passes in place over a buffer kept for it."""
    factor = np.empty_like(edges.weights)

    def decay() -> None:
        np.subtract(edges.last_used, np.float32(NOW), out=factor)
        np.multiply(factor, np.float32(1 / HALF_LIFE_S), out=factor)
        np.exp2(factor, out=factor)
        np.multiply(edges.weights, factor, out=edges.weights)

    return decay


def numpy_full(edges: Columns) -> Call:
    """The peer of the full form."""
    factor, rates = np.empty_like(edges.weights), 1 / edges.half_life_s

    def decay() -> np.ndarray:
        np.subtract(edges.last_used, np.float32(NOW), out=factor)
        np.multiply(factor, rates[edges.types], out=factor)
        np.exp2(factor, out=factor)
        np.multiply(edges.weights, factor, out=edges.weights)
        interactions = edges.counts[:, 0].astype(np.uint32) + edges.counts[:, 1]
        return np.asarray((edges.weights < np.float32(FLOOR)) & (interactions >= MIN_INTERACTIONS))

    return decay


def numexpr_plain(edges: Columns) -> Call | None:
    """The peer: one fused pass on two threads."""
    if (numexpr := peer("numexpr")) is None:
        return None
    numexpr.set_num_threads(2)
    names = {
        "w": edges.weights,
        "t": edges.last_used,
        "now": np.float32(NOW),
        "rate": np.float32(np.log(2) / HALF_LIFE_S),
    }
    return lambda: numexpr.evaluate("w * exp((t - now) * rate)", local_dict=names, out=edges.weights)
