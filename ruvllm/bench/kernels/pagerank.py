"""Personalised PageRank of 512 nodes and 4 000 links to 1e-4, beside networkx and scipy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ruvllm import kernels
from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race

__all__ = ["DAMPING", "TOLERANCE", "igraph_pagerank", "links", "networkx_pagerank", "ours", "rows", "scipy_pagerank"]

NUM_NODES, NUM_LINKS = 512, 4000
DAMPING, TOLERANCE = 0.85, 1e-4

Links = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # indptr, indices, weights, restart


def rows() -> Iterator[Row]:
    """Yield the time of one ranking."""
    graph = links(NUM_NODES, NUM_LINKS)
    makers = {"networkx": networkx_pagerank, "scipy sparse": scipy_pagerank, "igraph": igraph_pagerank}
    peers = {name: call for name, make in makers.items() if (call := make(graph)) is not None}
    yield race("pagerank, 512 nodes, 4 000 links, 1e-4", ours(graph), peers, target=100.0, target_ratio=0.1)


def links(n: int, nnz: int) -> Links:
    """Return random weighted links and a restart on 32 of the nodes."""
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rng.integers(0, n, nnz), minlength=n))])
    restart = np.zeros(n, np.float32)
    restart[rng.choice(n, min(n, 32), replace=False)] = rng.random(min(n, 32), dtype=np.float32) + 0.1
    return indptr, rng.integers(0, n, nnz).astype(np.int32), rng.random(nnz, dtype=np.float32), restart


def ours(graph: Links) -> Call:
    return lambda: kernels.pagerank(*graph, damping=DAMPING, tolerance=TOLERANCE)


def networkx_pagerank(graph: Links) -> Call | None:
    """The peer, whose tolerance counts per node."""
    if (networkx := peer("networkx")) is None or peer("scipy") is None:
        return None
    indptr, indices, weights, restart = graph
    made, n = networkx.MultiDiGraph(), len(restart)
    made.add_nodes_from(range(n))
    sources = np.repeat(np.arange(n), np.diff(indptr)).tolist()
    made.add_weighted_edges_from(zip(sources, indices.tolist(), weights.tolist(), strict=True))
    personalization = dict(enumerate(restart.tolist()))
    return lambda: networkx.pagerank(made, alpha=DAMPING, personalization=personalization, tol=TOLERANCE / n)


def scipy_pagerank(graph: Links) -> Call | None:
    """The peer: the same iteration, a sparse product a step. As for us, every call brings another subgraph's rows."""
    if (sparse := peer("scipy.sparse")) is None:
        return None
    indptr, indices, weights, restart = graph
    n = len(restart)

    def rank() -> np.ndarray:
        matrix = sparse.csr_array((weights.astype(np.float64), indices, indptr), shape=(n, n))
        sums = matrix.sum(axis=1)
        matrix.data /= np.repeat(np.where(sums > 0, sums, 1), np.diff(indptr))
        transition, is_dangling = matrix.T.tocsr(), sums == 0
        p = r = restart.astype(np.float64) / restart.sum(dtype=np.float64)
        while True:
            before, p = p, DAMPING * (transition @ p + p[is_dangling].sum() * r) + (1 - DAMPING) * r
            if float(np.abs(p - before).sum()) < TOLERANCE:
                return np.asarray(p)

    return rank


def igraph_pagerank(graph: Links) -> Call | None:
    """The peer: PRPACK, an exact solver without a tolerance."""
    if (igraph := peer("igraph")) is None:
        return None
    indptr, indices, weights, restart = graph
    sources = np.repeat(np.arange(len(restart)), np.diff(indptr))
    made = igraph.Graph(n=len(restart), edges=np.column_stack([sources, indices]), directed=True)
    reset, by_link = restart.tolist(), weights.tolist()
    return lambda: made.personalized_pagerank(reset=reset, damping=DAMPING, weights=by_link)
