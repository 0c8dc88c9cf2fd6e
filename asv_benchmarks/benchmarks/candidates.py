"""What ranking computes of 256 candidates before attention: nearness, the prior of the walk, and the features."""

from __future__ import annotations

import numpy as np

from ruvllm.attention import Candidates
from ruvllm.attention.features import EDGE_TYPES, node_features, pagerank_prior
from ruvllm.kernels import Graph, nearness

NUM_NODES, NUM_EDGES, DIM, NUM_STRONG = 256, 1024, 384, 4


class CandidatesOfAQuestion:
    def setup(self) -> None:
        rng = np.random.default_rng(0)
        graph = Graph(num_types=len(EDGE_TYPES))
        ids = np.arange(NUM_NODES)
        graph.add_nodes(ids)
        src, dst = rng.integers(0, NUM_NODES, NUM_EDGES), rng.integers(1, NUM_NODES, NUM_EDGES)
        dst = (src + dst) % NUM_NODES  # never the node itself
        types = rng.integers(0, len(EDGE_TYPES), NUM_EDGES, dtype=np.uint8)
        graph.add_edges(src, dst, types, rng.random(NUM_EDGES, np.float32), np.zeros(NUM_EDGES, np.float32))
        names = ("similarity", "keyword", "fused", "named", "rest", "speaker", "dated", "trust")
        self.candidates = Candidates(
            graph=graph.among(ids),
            degrees=graph.degrees(ids),
            place=rng.integers(0, NUM_NODES // 4, NUM_NODES),
            length=rng.integers(10, 2000, NUM_NODES).astype(np.float32),
            num_words=10,
            **{name: rng.random(NUM_NODES, np.float32) for name in names},
        )
        self.prior = pagerank_prior(self.candidates)
        self.vectors = rng.standard_normal((NUM_NODES, DIM), np.float32) / np.float32(DIM**0.5)

    def time_nearness(self) -> None:
        nearness(self.candidates.graph, self.vectors, np.arange(NUM_NODES), self.vectors[-1], num_strong=NUM_STRONG)

    def time_prior(self) -> None:
        pagerank_prior(self.candidates)

    def time_features(self) -> None:
        node_features(self.candidates, self.prior)
