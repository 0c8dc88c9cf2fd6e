"""The vector index against raw hnswlib: 100 000 clustered unit vectors of 384 dimensions, recall beside time.

RUVLLM_BENCH_SMALL=1 takes 10 000. Both sides search the same saved graph.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hnswlib
import numpy as np

from ruvllm.config import IndexConfig
from ruvllm.kernels import exact_search
from ruvllm.memory.index import HnswIndex

N = 10_000 if os.environ.get("RUVLLM_BENCH_SMALL") else 100_000
DIM = 384
NUM_QUERIES = 200
CONFIG = IndexConfig()


def clustered_vectors(n: int, seed: int) -> np.ndarray:
    """Return (n, DIM) float32 unit vectors around 2 000 fixed centres of uneven weight, as sentence embeddings lie."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    spectrum = (1.0 + np.arange(DIM)) ** -0.5
    centres = fixed.standard_normal((2000, DIM)) * spectrum
    weights = fixed.dirichlet(np.full(2000, 0.7))
    spread = 0.05 + 0.75 * (1.0 + np.arange(DIM)) ** -0.45 * (np.arange(DIM) < 80)
    vectors = centres[rng.choice(2000, n, p=weights)] + rng.standard_normal((n, DIM)) * spread
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, true, strict=True)]))


class HnswSearch:
    """One query at a time on one thread, through our guard and without it."""

    param_names = ("k", "ef_search", "through")
    params = ([10, 32, 64], [32, 64, 128], ["ruvllm", "hnswlib"])
    timeout = 1800

    def setup_cache(self) -> str:
        base = Path(tempfile.mkdtemp()) / "bench"
        index = HnswIndex(DIM, CONFIG, capacity=N)
        index.add(np.arange(N, dtype=np.int64), clustered_vectors(N, seed=1), num_threads=os.cpu_count() or 1)
        index.save(base, embedder_id="bench")
        true, _ = exact_search(clustered_vectors(N, seed=1), clustered_vectors(NUM_QUERIES, seed=2), 64)
        np.save(base.with_name("true.npy"), true)
        return str(base)

    def setup(self, base: str, k: int, ef_search: int, through: str) -> None:
        if ef_search < k:
            raise NotImplementedError  # asv's way to skip a combination
        self.queries = clustered_vectors(NUM_QUERIES, seed=2)
        if through == "ruvllm":
            index = HnswIndex.load(Path(base), dim=DIM, embedder_id="bench", config=CONFIG)
            self.search = lambda query: index.search(query, k, ef_search=ef_search)[0]
        else:
            raw = hnswlib.Index("ip", DIM)
            raw.load_index(f"{base}.hnsw")
            raw.set_ef(ef_search)
            self.search = lambda query: raw.knn_query(query, k=k, num_threads=1)[0][0]

    def time_200_queries(self, base: str, k: int, ef_search: int, through: str) -> None:
        for query in self.queries:
            self.search(query)

    def track_recall(self, base: str, k: int, ef_search: int, through: str) -> float:
        true = np.load(Path(base).with_name("true.npy"))[:, :k]
        return recall(np.stack([self.search(query) for query in self.queries]).astype(np.int64), true)

    track_recall.unit = "fraction"


class HnswOpen:
    """Verify and load a saved index."""

    timeout = 1800

    def setup_cache(self) -> str:
        return HnswSearch().setup_cache()

    def time_load(self, base: str) -> None:
        HnswIndex.load(Path(base), dim=DIM, embedder_id="bench", config=CONFIG)


class HnswAdd:
    """Add 100 vectors to an index that holds 2 000."""

    number = 1

    def setup(self) -> None:
        self.index = HnswIndex(DIM, CONFIG, capacity=4000)
        self.index.add(np.arange(2000, dtype=np.int64), clustered_vectors(2000, seed=1))
        self.vectors = clustered_vectors(100, seed=3)

    def time_add_100(self) -> None:
        start = len(self.index)
        self.index.add(np.arange(start, start + 100, dtype=np.int64), self.vectors)
