"""The graph in memory, beside its peers; RUVLLM_BENCH_SMALL=1 takes a hundredth of the nodes and edges."""

from __future__ import annotations

import os

import numpy as np

from ruvllm.bench.kernels.graph import (
    DictGraph,
    graph_of,
    igraph_expansion,
    in_turn,
    random_edges,
    scipy_expansion,
    seed_sets,
)
from ruvllm.kernels import Graph

SCALE = 100 if os.environ.get("RUVLLM_BENCH_SMALL") else 1
NUM_NODES, NUM_EDGES = 1_000_000 // SCALE, 10_000_000 // SCALE


class Expansion:
    """Two hops from 32 seeds, 16 edges a node, 512 nodes at most; other seeds each time."""

    param_names = ("by",)
    params = (["ruvllm", "scipy CSR", "igraph"],)
    timeout = 300

    def setup(self, by: str) -> None:
        edges = random_edges(NUM_NODES, NUM_EDGES)
        make = {"scipy CSR": scipy_expansion, "igraph": igraph_expansion}.get(by, lambda edges: graph_of(edges).expand)
        if (expand := make(edges)) is None:
            raise NotImplementedError  # the peer is not installed
        self.expand = in_turn(expand, seed_sets(NUM_NODES))

    def time_expand(self, by: str) -> None:
        self.expand()


class ExpansionOfAHub:
    """A node with 100 000 edges each way: one pass over them."""

    def setup(self) -> None:
        spokes, rng = 100_000, np.random.default_rng(0)
        self.graph = Graph(num_types=1)
        self.graph.add_nodes(np.arange(spokes + 1))
        hub, outer, types = np.zeros(spokes, np.int64), np.arange(1, spokes + 1), np.zeros(spokes, np.uint8)
        for src, dst in ((hub, outer), (outer, hub)):
            self.graph.add_edges(src, dst, types, rng.random(spokes, dtype=np.float32), np.zeros(spokes, np.float32))

    def time_out(self) -> None:
        self.graph.expand(np.array([0]), hops=1, direction="out")

    def time_both(self) -> None:
        self.graph.expand(np.array([0]), hops=1)


class Reinforcement:
    """The 100 edges among 16 nodes."""

    param_names = ("by",)
    params = (["ruvllm", "dict of dicts"],)

    def setup(self, by: str) -> None:
        edges, self.nodes = random_edges(16, 100), np.arange(16)
        self.graph, self.dicts = graph_of(edges), DictGraph(edges)

    def time_reinforce(self, by: str) -> None:
        if by == "ruvllm":
            self.graph.reinforce(self.nodes, quality=0.9, success=True, now=1.0)
        else:
            self.dicts.reinforce(range(16), 0.08, 1.0)


class GraphLife:
    """Loading, decay, snapshot and restore; bytes an edge after a bulk load and after as many single adds."""

    timeout = 300

    def setup(self) -> None:
        self.edges = random_edges(NUM_NODES, NUM_EDGES)
        self.graph = graph_of(self.edges)
        self.saved = self.graph.snapshot()
        self.now = 0.0

    def time_bulk_load(self) -> None:
        graph_of(self.edges)

    def time_decay(self) -> None:
        self.now += 1.0
        self.graph.decay(self.now)

    def time_snapshot(self) -> None:
        self.graph.snapshot()

    def time_restore(self) -> None:
        Graph.restore(self.saved)

    def track_bytes_an_edge(self) -> float:
        return self.graph.nbytes / self.graph.num_edges

    def track_bytes_an_edge_after_single_adds(self) -> float:
        edges = random_edges(10_000, 100_000)
        graph = Graph(num_types=7)
        graph.add_nodes(np.arange(edges.num_nodes))
        used = np.zeros(len(edges.src), np.float32)
        for i in range(len(edges.src)):
            one = slice(i, i + 1)
            graph.add_edges(edges.src[one], edges.dst[one], edges.types[one], edges.weights[one], used[one])
        return graph.nbytes / graph.num_edges

    track_bytes_an_edge.unit = track_bytes_an_edge_after_single_adds.unit = "bytes"  # type: ignore[attr-defined]
