"""Made-up candidates: node 0 is named, leads to 1; 2 resembles the question; 3 leads to nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ruvllm import kernels
from ruvllm.attention import Candidates
from ruvllm.attention.engine import EDGE_TYPES
from ruvllm.types import EdgeType


def graph_of(n: int, edges: list[tuple[int, int, EdgeType]]) -> kernels.Graph:
    graph = kernels.Graph(num_types=len(EDGE_TYPES))
    graph.add_nodes(np.arange(n, dtype=np.int64))
    if edges:
        src, dst, types = zip(*edges, strict=True)
        graph.add_edges(
            np.array(src, np.int64),
            np.array(dst, np.int64),
            np.array([EDGE_TYPES.index(type) for type in types], np.uint8),
            np.full(len(edges), 0.8, np.float32),
            np.zeros(len(edges), np.float32),
        )
    return graph


def candidates(
    n: int = 4, edges: list[tuple[int, int, EdgeType]] | None = None, **changed: Any
) -> tuple[Candidates, np.ndarray]:
    """Return candidates and their edge features."""
    graph = graph_of(n, [(0, 1, EdgeType.CITES)] if edges is None else edges)
    subgraph = graph.expand(np.arange(n, dtype=np.int64), hops=0)
    similarity = np.linspace(0.4, 0.3, n).astype(np.float32)
    fields: dict[str, Any] = {
        "graph": subgraph,
        "degrees": graph.degrees(subgraph.ids),
        "similarity": similarity,
        "keyword": np.zeros(n, np.float32),
        "fused": np.zeros(n, np.float32),
        "named": np.zeros(n, np.float32),
        "rest": np.zeros(n, np.float32),
        "speaker": np.zeros(n, np.float32),
        "dated": np.zeros(n, np.float32),
        "place": np.arange(n, dtype=np.int64),
        "length": np.full(n, 200, np.float32),
        "trust": np.ones(n, np.float32),
        "num_words": 5,
    }
    return Candidates(**fields | changed), graph.edge_features(subgraph, now=0.0)


def named(n: int, *which: int) -> np.ndarray:
    out = np.zeros(n, np.float32)
    out[list(which)] = 1.0
    return out
