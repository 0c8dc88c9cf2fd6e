"""Small graphs to draw."""

from __future__ import annotations

from ruvllm.types import Edge, EdgeType, Neighbourhood, Node, NodeType


def star(n: int, label: str = "node number") -> Neighbourhood:
    """Node 1 cites all others, and every third of them follows the one before."""
    nodes = [Node(i, NodeType.DOCUMENT, f"{label} {i}") for i in range(1, n + 1)]
    edges = [Edge(1, i, EdgeType.CITES, 0.8) for i in range(2, n + 1)]
    edges += [Edge(i, i - 1, EdgeType.FOLLOWS, 0.2) for i in range(4, n + 1, 3)]
    return Neighbourhood(tuple(nodes), tuple(edges), {node.id: int(node.id > 1) for node in nodes}, 1)


def pair(first: Node, second: Node, *edges: Edge) -> Neighbourhood:
    return Neighbourhood((first, second), edges, {first.id: 0, second.id: 1}, first.id)
