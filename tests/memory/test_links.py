"""ruvllm/memory/links.py: the graph in memory is what the database holds, and search follows it."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ruvllm import kernels
from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.memory.links import EDGE_TYPE_CODES, Links
from ruvllm.types import EdgeType, Feedback, NodeType

from .fakes import interaction

OpenMemory = Callable[..., Memory]


WANTED = 20  # hits asked for, and candidates taken from vectors and from words


@pytest.fixture
def crowd(open_memory: OpenMemory) -> Memory:
    """A memory in which nothing but a link leads from the Petrel to anything that does not name it."""
    config = load_config(environment={}, overrides={"retrieval": {"candidates": WANTED, "k": 2}})
    memory = open_memory(config=config)
    insert(memory, *(f"the Petrel is number{i}" for i in range(WANTED - 1)))
    return memory


def insert(memory: Memory, *texts: str) -> list[int]:
    return [memory.insert_node(text) for text in texts]


def found(memory: Memory, query: str, **options: Any) -> list[int]:
    return [hit.node.id for hit in memory.search(query, WANTED, **options)]


def edges_of(graph: kernels.Graph) -> set[tuple[int, int, int, float, int, int]]:
    """Every edge as (src, dst, type, weight, successes, failures)."""
    edges = set()
    for src in graph.node_ids().tolist():
        out = graph.neighbours(src, direction="out")
        columns = (out.ids, out.types, out.weights, out.successes, out.failures)
        edges |= {(src, *edge) for edge in zip(*(column.tolist() for column in columns), strict=True)}
    return edges


def fresh(memory: Memory) -> kernels.Graph:
    return Links(memory._store, memory.namespace).load()


def test_a_linked_node_is_found_that_neither_words_nor_vectors_find(crowd: Memory) -> None:
    ship, fuel = insert(crowd, "Petrel ship", "diesel for winter")
    assert fuel not in found(crowd, "Petrel ship")
    crowd.insert_edge(ship, fuel, EdgeType.CITES, weight=0.9)
    hits = found(crowd, "Petrel ship")
    assert hits[0] == ship
    assert fuel in hits


def test_links_are_followed_from_either_end(crowd: Memory) -> None:
    ship, fuel = insert(crowd, "Petrel ship", "diesel for winter")
    crowd.insert_edge(fuel, ship, EdgeType.CITES, weight=0.9)
    assert fuel in found(crowd, "Petrel ship")


def test_a_filter_also_holds_for_what_links_find(crowd: Memory) -> None:
    ship, fuel = insert(crowd, "Petrel ship", "diesel for winter")
    crowd.insert_edge(ship, fuel, EdgeType.CITES, weight=0.9)
    wood = crowd.insert_node("logs and planks", type=NodeType.CONCEPT)
    crowd.insert_edge(wood, ship, EdgeType.CONTAINS, weight=0.9)
    assert fuel in found(crowd, "Petrel ship", filter={"type": "Fact"})
    assert wood not in found(crowd, "Petrel ship", filter={"type": "Fact"})


def test_trust_also_counts_for_what_links_find(crowd: Memory) -> None:
    ship, fuel = insert(crowd, "Petrel ship", "diesel for winter")
    rumour = crowd.insert_node("logs and planks", trust=0.01)
    for node in (fuel, rumour):
        crowd.insert_edge(ship, node, EdgeType.CITES, weight=0.9)
    scores = {hit.node.id: hit.score for hit in crowd.search("Petrel ship", 2 * WANTED)}
    assert 0.0 < scores[rumour] < 0.02 * scores[fuel]


def test_what_is_not_trusted_is_not_found(crowd: Memory) -> None:
    ship = crowd.insert_node("Petrel ship")
    rumour = crowd.insert_node("Petrel ship rumours", trust=0.0)
    crowd.insert_edge(ship, rumour, EdgeType.CITES, weight=1.0)
    assert rumour not in found(crowd, "Petrel ship rumours")


def test_nothing_spreads_from_what_is_not_trusted(crowd: Memory) -> None:
    (fuel,) = insert(crowd, "diesel for winter")
    rumour = crowd.insert_node("Petrel ship", trust=0.0)
    crowd.insert_edge(rumour, fuel, EdgeType.CITES, weight=1.0)
    scores = {hit.node.id: hit.score for hit in crowd.search("Petrel ship", 2 * WANTED)}
    assert scores.get(fuel, 0.0) < 1e-3


def test_heavier_links_carry_more(crowd: Memory) -> None:
    ship, light, heavy = insert(crowd, "Petrel ship", "diesel for winter", "logs and planks")
    crowd.insert_edge(ship, light, EdgeType.CITES, weight=0.2)
    crowd.insert_edge(ship, heavy, EdgeType.CITES, weight=0.8)
    scores = {hit.node.id: hit.score for hit in crowd.search("Petrel ship", 2 * WANTED)}
    assert scores[heavy] > scores[light] > 0.0


def test_deleted_nodes_take_their_links_along(memory: Memory) -> None:
    memory.add([{"text": "alpha beta", "source": "a"}, {"text": "gamma delta", "source": "b"}])
    a, b = (hit.node.id for query in ("alpha", "gamma") for hit in memory.search(query, 1))
    memory.insert_edge(a, b, EdgeType.CITES)
    memory.search("alpha")
    memory.forget("b")
    assert b not in memory._links.load()
    assert memory._links.load().num_edges == 0


def test_what_is_on_probation_has_no_part_in_it(memory: Memory) -> None:
    (source,) = insert(memory, "the Petrel comes monthly")
    memory.record(interaction(source_ids=(source,), used_ids=(source,)))
    memory.flush()
    assert memory.stats().edges > 0
    assert fresh(memory).num_edges == 0


def test_nothing_crosses_from_one_namespace_to_another(open_memory: OpenMemory) -> None:
    with open_memory() as memory:
        a, b = insert(memory, "one", "two")
        memory.insert_edge(a, b, EdgeType.CITES)
    other = open_memory(namespace="other")
    assert other._links.load().num_nodes == 0


def test_a_reading_process_follows_the_writer(open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.links.RELOAD_SHARE", float("inf"))  # look every time
    writer = open_memory()
    a, b = insert(writer, "one", "two")
    reader = open_memory(read_only=True)
    assert reader._links.load().num_edges == 0
    writer.insert_edge(a, b, EdgeType.CITES, weight=0.7)
    assert edges_of(reader._links.load()) == edges_of(writer._links.load()) != set()


def test_a_reading_process_spends_a_bounded_share_on_following(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.memory.links.RELOAD_SHARE", 1e-9)  # not again for ages
    writer = open_memory()
    a, b = insert(writer, "one", "two")
    reader = open_memory(read_only=True)
    before = reader._links.load()
    writer.insert_edge(a, b, EdgeType.CITES)
    assert reader._links.load() is before


def test_a_reading_process_loads_once_while_nothing_is_written(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.memory.links.RELOAD_SHARE", float("inf"))
    open_memory()
    reader = open_memory(read_only=True)
    first = reader._links.load()
    with ThreadPoolExecutor(3) as threads:
        assert all(graph is first for graph in threads.map(lambda _: reader._links.load(), range(9)))


def test_what_fails_half_way_is_read_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = insert(memory, "one", "two")
    memory._links.load()
    with monkeypatch.context() as broken, pytest.raises(KeyError):
        broken.setattr("ruvllm.memory.links.EDGE_TYPE_CODES", {})
        memory.insert_edge(a, b, EdgeType.CITES)
    assert memory._links.load().num_edges == 1


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_the_graph_is_what_the_database_holds(memory: Memory, seed: int) -> None:
    rng = random.Random(seed)
    nodes = insert(memory, *(f"fact{i}" for i in range(12)))
    memory._links.load()
    for step in range(60):
        roll = rng.random()
        if roll < 0.6:
            src, dst = rng.sample(nodes, 2)
            memory.insert_edge(src, dst, rng.choice(list(EdgeType)), weight=rng.random())
        elif roll < 0.75:
            memory.add([{"text": f"word{step} " * 300, "source": f"doc{rng.randrange(4)}"}])
        elif roll < 0.85 and memory.sources():
            memory.forget(rng.choice(memory.sources()).source)
        elif roll < 0.95:
            memory.record(interaction(f"i{step}", source_ids=tuple(rng.sample(nodes, 2)), used_ids=()))
            memory.feedback(f"i{step}", Feedback(rating=5, correction=f"right{step}"))
        else:
            memory._links.reload()
    assert edges_of(memory._links.load()) == edges_of(fresh(memory))
    assert fresh(memory).num_edges > 0


def test_every_edge_type_has_its_number() -> None:
    assert sorted(EDGE_TYPE_CODES.values()) == list(range(len(EdgeType)))
    assert np.iinfo(np.uint8).max > len(EdgeType)
