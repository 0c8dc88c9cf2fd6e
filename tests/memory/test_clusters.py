"""ruvllm/memory/clusters.py and affinity.py: what belongs together is found, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.memory import Memory
from ruvllm.memory.clusters import Pairs, find_clusters
from ruvllm.types import EdgeType, NodeType

from .fakes import interaction


def linked(memory: Memory, texts: list[str], weight: float) -> list[int]:
    """Insert nodes with an edge between any two."""
    nodes = [memory.insert_node(text) for text in texts]
    for i, node in enumerate(nodes):
        for other in nodes[i + 1 :]:
            memory.insert_edge(node, other, EdgeType.SAME_TOPIC, weight)
    return nodes


def test_cluster_detection_finds_dense_neighborhoods(memory: Memory) -> None:
    learning = linked(
        memory,
        [
            "Neural networks learn patterns",
            "Deep learning uses multiple layers",
            "Backpropagation trains neural nets",
        ],
        0.9,
    )
    cooking = linked(memory, ["Sourdough needs starter", "Bread baking requires patience"], 0.85)
    clusters = memory.detect_clusters(2, 0.5)
    assert [set(cluster.nodes) for cluster in clusters] == [set(learning), set(cooking)]
    assert clusters[0].density == pytest.approx(0.9, abs=0.05)
    assert clusters[1].density == pytest.approx(0.85, abs=0.05)


def test_what_means_the_same_is_a_cluster_without_any_edge(memory: Memory) -> None:
    memory.insert_nodes([f"red green blue paint number {word}" for word in "one two three four".split()])
    memory.insert_nodes([f"cargo crates compile borrow lifetime {word}" for word in "five six seven".split()])
    assert [len(cluster) for cluster in memory.detect_clusters(3, 0.5)] == [4, 3]


def test_what_is_found_together_is_a_cluster(memory: Memory) -> None:
    nodes = memory.insert_nodes(["alpha", "beta", "gamma"])
    for _ in range(5):
        memory._usage.note(nodes)
    memory.flush()
    assert [set(cluster.nodes) for cluster in memory.detect_clusters(3, 0.5)] == [set(nodes)]


def test_probation_questions_concepts_and_the_untrusted_are_in_no_cluster(memory: Memory) -> None:
    words = "red green blue paint"
    facts = memory.insert_nodes([f"{words} {word}" for word in "one two three".split()])
    memory.insert_node(f"{words} four", type=NodeType.CONCEPT)
    memory.insert_node(f"{words} five", trust=0.0)
    memory.record(interaction(query=f"{words} six?", answer=f"{words} seven"))
    memory.flush()
    assert [set(cluster.nodes) for cluster in memory.detect_clusters(2, 0.3)] == [set(facts)]


def test_another_namespace_is_not_looked_at(memory: Memory, open_memory: object) -> None:
    memory.insert_nodes([f"red green blue paint {word}" for word in "one two three".split()])
    memory.close()
    assert open_memory(namespace="other").detect_clusters(2, 0.1) == []  # type: ignore[operator]


def test_a_community_that_is_not_dense_is_divided(memory: Memory) -> None:
    memory.insert_nodes([f"red green blue paint {word}" for word in "one two three".split()])
    memory.insert_nodes([f"cargo crates compile borrow {word}" for word in "five six seven".split()])
    first, *_, last = range(1, 7)
    memory.insert_edge(first, last, EdgeType.SAME_TOPIC, 1.0)
    assert {cluster.nodes == () or len(cluster) for cluster in memory.detect_clusters(3, 0.6)} == {3}


def test_the_same_seed_gives_the_same_clusters() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    a, b = np.triu_indices(200, 1)
    cosines = np.einsum("ij,ij->i", vectors[a], vectors[b])
    near = cosines > 0.4
    pairs = Pairs(a[near], b[near], cosines[near], np.zeros(int(near.sum()), np.bool_))

    def found() -> list[tuple[int, ...]]:
        ids = np.arange(1000, 1200)
        clusters = find_clusters(ids, pairs, lambda i: vectors[i], min_size=3, min_density=0.3, seed=7)
        return [cluster.nodes for cluster in clusters]

    assert found() == found() != []


def test_it_stops_when_told(memory: Memory) -> None:
    memory.insert_nodes([f"red green blue paint {word}" for word in "one two three".split()])
    assert memory.detect_clusters(2, 0.1, must_stop=lambda: True) == []


@pytest.mark.parametrize(("min_size", "min_density"), [(1, 0.5), (True, 0.5), (2, -0.1), (2, float("nan"))])
def test_what_is_out_of_range_is_refused(memory: Memory, min_size: int, min_density: float) -> None:
    with pytest.raises(ValueError, match="min_"):
        memory.detect_clusters(min_size, min_density)


def test_an_empty_memory_has_no_clusters(memory: Memory) -> None:
    assert memory.detect_clusters() == []
