"""A graph of a million nodes and ten million edges: expansion, reinforcement, decay and memory, beside its peers."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ruvllm.bench.kernels.edge_decay import FULL_BYTES
from ruvllm.bench.kernels.machine import ceilings
from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race
from ruvllm.kernels import Graph

__all__ = [
    "NUM_TYPES",
    "DictGraph",
    "Edges",
    "graph_of",
    "igraph_expansion",
    "in_turn",
    "random_edges",
    "rows",
    "scipy_expansion",
    "seed_sets",
]

NUM_TYPES, HALF_LIFE_S = 7, 1e7
HOPS, MAX_NODES, FAN_OUT = 2, 512, 16

Expansion = Callable[[np.ndarray], object]


@dataclass(frozen=True, slots=True)
class Edges:
    """Random typed edges among `num_nodes` nodes, whose ids are their numbers."""

    num_nodes: int
    src: np.ndarray
    dst: np.ndarray
    types: np.ndarray
    weights: np.ndarray


def rows() -> Iterator[Row]:
    """Yield times and bytes; making the graphs takes half a minute and about 3 GB."""
    edges = random_edges(1_000_000, 10_000_000)
    graph, seeds = graph_of(edges), seed_sets(edges.num_nodes)
    makers = {"scipy CSR": scipy_expansion, "igraph": igraph_expansion}
    peers = {name: made for name, make in makers.items() if (made := make(edges)) is not None}
    yield race(
        "graph, 2-hop expansion from 32 seeds, 1 M nodes, 10 M edges",
        in_turn(graph.expand, seeds),
        {name: in_turn(expand, seeds) for name, expand in peers.items()},
        target=150.0,
        target_ratio=0.2,
    )
    peers.clear()
    small = random_edges(16, 100)
    nodes, few, dicts = np.arange(16), graph_of(small), DictGraph(small)
    yield race(
        "graph, reinforcement of the 100 edges among 16 nodes",
        lambda: few.reinforce(nodes, quality=0.9, success=True, now=1.0),
        {"dict of dicts": lambda: dicts.reinforce(range(16), 0.08, 1.0)},
        target=5.0,
    )
    now = itertools.count(1.0)
    yield race(
        "graph, decay of 10 M edges",
        lambda: graph.decay(next(now)),
        {},
        unit="ms",
        floor_s=ceilings().floor_s(moved_bytes=FULL_BYTES * graph.num_edges),
    )
    size = graph.nbytes / graph.num_edges
    yield Row("graph, memory after a bulk load", size, "bytes/edge", target=32.0, met=size <= 32)


def random_edges(num_nodes: int, num_edges: int, seed: int = 0) -> Edges:
    rng = np.random.default_rng(seed)
    src = rng.integers(0, num_nodes, num_edges)
    return Edges(
        num_nodes,
        src,
        (src + rng.integers(1, num_nodes, num_edges)) % num_nodes,
        rng.integers(0, NUM_TYPES, num_edges).astype(np.uint8),
        rng.random(num_edges, dtype=np.float32),
    )


def seed_sets(num_nodes: int, count: int = 1000) -> np.ndarray:
    """Return (count, 32) node ids: enough that their neighbourhoods do not stay in cache."""
    return np.random.default_rng(1).integers(0, num_nodes, (count, 32))


def in_turn(expand: Expansion, seeds: np.ndarray) -> Call:
    """Return a call that expands from the next seeds each time."""
    turns = itertools.cycle(seeds)
    return lambda: expand(next(turns))


def graph_of(edges: Edges) -> Graph:
    graph = Graph(num_types=NUM_TYPES, half_life_s=HALF_LIFE_S)
    graph.add_nodes(np.arange(edges.num_nodes))
    graph.add_edges(edges.src, edges.dst, edges.types, edges.weights, np.zeros(len(edges.src), np.float32))
    return graph


def scipy_expansion(edges: Edges) -> Expansion | None:
    """The peer: rows of both directions, argpartition for the heaviest, fancy indexing for the subgraph."""
    if (sparse := peer("scipy.sparse")) is None:
        return None
    ends = (np.concatenate([edges.src, edges.dst]), np.concatenate([edges.dst, edges.src]))
    matrix = sparse.csr_array((np.tile(edges.weights, 2), ends), shape=(edges.num_nodes,) * 2)
    indptr, indices, weights = matrix.indptr, matrix.indices, matrix.data

    def expand(seeds: np.ndarray) -> tuple[dict[int, int], object]:
        def heaviest(node: int) -> list[int]:
            entries = slice(indptr[node], indptr[node + 1])
            order = np.argsort(-weights[entries])[:FAN_OUT]
            found: list[int] = indices[entries][order].tolist()
            return found

        hop_of = _breadth_first(seeds.tolist(), heaviest)
        nodes = np.fromiter(hop_of, np.int64)
        return hop_of, matrix[nodes][:, nodes]

    return expand


def igraph_expansion(edges: Edges) -> Expansion | None:
    """The peer: incident edges and their weights, then the induced subgraph."""
    if (igraph := peer("igraph")) is None:
        return None
    graph = igraph.Graph(n=edges.num_nodes, edges=np.column_stack([edges.src, edges.dst]), directed=True)
    weights, ends = edges.weights, (edges.src, edges.dst)

    def expand(seeds: np.ndarray) -> tuple[dict[int, int], object]:
        def heaviest(node: int) -> list[int]:
            incident = np.array(graph.incident(node, mode="all"), np.int64)
            order = incident[np.argsort(-weights[incident])[:FAN_OUT]]
            found: list[int] = (ends[0][order] + ends[1][order] - node).tolist()
            return found

        hop_of = _breadth_first(seeds.tolist(), heaviest)
        return hop_of, graph.induced_subgraph(list(hop_of), implementation="create_from_scratch")

    return expand


def _breadth_first(seeds: list[int], heaviest: Callable[[int], list[int]]) -> dict[int, int]:
    hop_of = dict.fromkeys(seeds, 0)
    queue = list(hop_of)
    for node in queue:
        if hop_of[node] == HOPS or len(hop_of) >= MAX_NODES:
            break
        for neighbour in heaviest(node):
            if neighbour not in hop_of and len(hop_of) < MAX_NODES:
                hop_of[neighbour] = hop_of[node] + 1
                queue.append(neighbour)
    return hop_of


class DictGraph:
    """The peer of reinforcement: source -> target -> type -> [weight, last_used, successes]."""

    def __init__(self, edges: Edges) -> None:
        self._edges: dict[int, dict[int, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
        columns = (edges.src.tolist(), edges.dst.tolist(), edges.types.tolist(), edges.weights.tolist())
        for src, dst, type, weight in zip(*columns, strict=True):
            self._edges[src][dst][type] = [weight, 0.0, 0]

    def reinforce(self, nodes: range, a: float, now: float) -> None:
        chosen = set(nodes)
        for node in nodes:
            edges = self._edges.get(node, {})
            for dst in chosen & edges.keys():
                for values in edges[dst].values():
                    values[0] += a * (1.0 - values[0])
                    values[1] = now
                    values[2] += 1
