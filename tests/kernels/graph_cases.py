"""Small graphs, and what stands in the row of a node."""

from __future__ import annotations

import numpy as np

from ruvllm.kernels import Graph, Subgraph

I, B, F, C = np.int64, np.uint8, np.float32, np.uint16  # noqa: E741
NUM_TYPES = 3
ONE = (np.array([1], I), np.array([2], I), np.array([0], B), np.array([0.5], F), np.array([0.0], F))
"""The edge from 1 to 2 of type 0 and weight 0.5, as `add_edges` takes it."""


def graph_of(
    *edges: tuple[int, int, int, float],
    nodes: tuple[int, ...] = (),
    epoch: float = 0.0,
    half_life_s: float | np.ndarray = np.inf,
) -> Graph:
    """A graph with these (src, dst, type, weight) edges, all last used at its epoch."""
    graph = Graph(num_types=NUM_TYPES, epoch=epoch, half_life_s=half_life_s)
    ids = sorted({id for edge in edges for id in edge[:2]} | set(nodes))
    graph.add_nodes(np.array(ids, I))
    if edges:
        src, dst, types, weights = zip(*edges, strict=True)
        used = np.zeros(len(edges), F)
        graph.add_edges(np.array(src, I), np.array(dst, I), np.array(types, B), np.array(weights, F), used)
    return graph


def row(subgraph: Subgraph, id: int) -> list[tuple[int, int, int]]:
    """(neighbour id, type, direction) of each entry of a node."""
    i = subgraph.ids.tolist().index(id)
    entries = slice(subgraph.indptr[i], subgraph.indptr[i + 1])
    neighbours = subgraph.ids[subgraph.indices[entries]].tolist()
    return list(zip(neighbours, subgraph.types[entries].tolist(), subgraph.directions[entries].tolist(), strict=True))


def chain(length: int) -> Graph:
    return graph_of(*[(i, i + 1, 0, 0.5) for i in range(length)])
