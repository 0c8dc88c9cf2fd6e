"""Exact top-k search over unit vectors of 384 dimensions: time per instruction set, NumPy beside it."""

from __future__ import annotations

import numpy as np

from ruvllm import kernels

DIM = 384
K = 10


def unit_vectors(n: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def numpy_search(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The peer: one BLAS product, then the K best of each row, sorted."""
    scores = queries @ vectors.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


class ExactSearch:
    """K = 10 of 10 000 (in cache) and 100 000 rows (in memory), one query and 64."""

    param_names = ("n", "num_queries", "isa")
    params = ([10_000, 100_000], [1, 64], ["scalar", "avx2", "avx512", "numpy"])

    def setup(self, n: int, num_queries: int, isa: str) -> None:
        if isa != "numpy" and isa not in kernels.available_isas():
            raise NotImplementedError  # asv's way to skip a combination
        self.vectors, self.queries = unit_vectors(n, seed=0), unit_vectors(num_queries, seed=1)
        self.search = numpy_search
        if isa != "numpy":
            kernels._use_isa(isa)
            self.search = lambda vectors, queries: kernels.exact_search(vectors, queries, K)

    def time_search(self, n: int, num_queries: int, isa: str) -> None:
        self.search(self.vectors, self.queries)


class ExactSearchOfATenth:
    """A filter kept one row in ten."""

    param_names = ("n",)
    params = ([10_000, 100_000],)

    def setup(self, n: int) -> None:
        self.vectors, self.queries = unit_vectors(n, seed=0), unit_vectors(1, seed=1)
        self.rows = np.sort(np.random.default_rng(2).permutation(n)[: n // 10]).astype(np.int64)

    def time_search(self, n: int) -> None:
        kernels.exact_search(self.vectors, self.queries, K, rows=self.rows)


class RequireFinite:
    """The check at the door: 100 000 rows, per instruction set."""

    param_names = ("isa",)
    params = (["scalar", "avx2", "avx512"],)

    def setup(self, isa: str) -> None:
        if isa not in kernels.available_isas():
            raise NotImplementedError
        kernels._use_isa(isa)
        self.vectors = unit_vectors(100_000, seed=0)

    def time_check(self, isa: str) -> None:
        kernels.require_finite_rows(self.vectors)
