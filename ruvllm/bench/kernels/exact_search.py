"""The ten best of 100 000 unit vectors of 384 dimensions, exactly, beside NumPy and faiss on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ruvllm import kernels
from ruvllm.bench.kernels.machine import ceilings
from ruvllm.bench.report import Row
from ruvllm.bench.timing import peer, race

__all__ = ["DIM", "K", "faiss_search", "numpy_search", "rows", "unit_vectors"]

DIM = 384
K = 10
NUM_VECTORS = 100_000
SHARE_OF_BANDWIDTH = 0.8  # what one query is to reach

Search = Callable[[np.ndarray], object]


def rows() -> Iterator[Row]:
    """Yield the times of one query and of 64 together."""
    vectors = unit_vectors(NUM_VECTORS, seed=0)
    peers: dict[str, Search] = {"NumPy": partial(numpy_search, vectors)}
    if (search := faiss_search(vectors)) is not None:
        peers["faiss IndexFlatIP"] = search
    for num_queries in (1, 64):
        queries = unit_vectors(num_queries, seed=1)
        floor_s = ceilings().floor_s(read_bytes=vectors.nbytes, flops=2.0 * vectors.size * num_queries)
        yield race(
            f"exact top {K} of {NUM_VECTORS:,} x {DIM}, {num_queries} at once",
            partial(kernels.exact_search, vectors, queries, K),
            {name: partial(search, queries) for name, search in peers.items()},
            unit="ms",
            target=1e3 * floor_s / SHARE_OF_BANDWIDTH if num_queries == 1 else None,
            target_ratio=1.0,
            floor_s=floor_s,
        )


def unit_vectors(n: int, seed: int) -> np.ndarray:
    """Return (n, DIM) float32 rows of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def numpy_search(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The peer: one BLAS product, then the K best of each row, sorted."""
    scores = queries @ vectors.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


def faiss_search(vectors: np.ndarray) -> Search | None:
    """The peer: IndexFlatIP on one thread; None when faiss is not installed."""
    if (faiss := peer("faiss")) is None:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    return lambda queries: index.search(queries, K)
