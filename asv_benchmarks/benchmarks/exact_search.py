"""Exact top-k search over unit vectors of 384 dimensions: time by instruction set, over float16 rows, and of peers."""

from __future__ import annotations

import numpy as np

from ruvllm import kernels
from ruvllm.bench.kernels.exact_search import K, faiss_search, numpy_search, unit_vectors

from . import use_isa


class ExactSearch:
    """K = 10 of 10 000 (in cache) and 100 000 rows (in memory), one query and 64."""

    param_names = ("n", "num_queries", "by")
    params = ([10_000, 100_000], [1, 64], ["scalar", "avx2", "avx512", "float16", "NumPy", "faiss"])

    def setup(self, n: int, num_queries: int, by: str) -> None:
        vectors, self.queries = unit_vectors(n, seed=0), unit_vectors(num_queries, seed=1)
        if by == "faiss":
            self.search = faiss_search(vectors)
        elif by == "NumPy":
            self.search = lambda queries: numpy_search(vectors, queries)
        elif by == "float16":
            halves = vectors.astype(np.float16)
            self.search = lambda queries: kernels.exact_search(halves, queries, K)
        elif by in kernels.available_isas():
            kernels._use_isa(by)
            self.search = lambda queries: kernels.exact_search(vectors, queries, K)
        else:
            self.search = None
        if self.search is None:
            raise NotImplementedError  # asv's way to skip a combination

    def time_search(self, n: int, num_queries: int, by: str) -> None:
        self.search(self.queries)


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
        use_isa(isa)
        self.vectors = unit_vectors(100_000, seed=0)

    def time_check(self, isa: str) -> None:
        kernels.require_finite_rows(self.vectors)
