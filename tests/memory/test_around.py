"""What a picture shows of memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ruvllm.memory import Memory
from ruvllm.types import EdgeType


def chain(memory: Memory, *words: str) -> list[int]:
    """Store a fact for each word, each linked to the next."""
    ids = [memory.insert_node(f"{word} is a word") for word in words]
    for src, dst in pairwise(ids):
        memory.insert_edge(src, dst, EdgeType.FOLLOWS)
    return ids


def test_nodes_within_the_hops_are_there_with_their_edges(memory: Memory) -> None:
    ids = chain(memory, *"alpha beta gamma delta epsilon".split())
    found = memory.neighbourhood(ids[1], hops=2)
    assert dict(found.hops) == {ids[1]: 0, ids[0]: 1, ids[2]: 1, ids[3]: 2}
    assert [(edge.src, edge.dst) for edge in found.edges] == list(pairwise(ids[:4]))


def test_when_there_is_no_room_the_heaviest_edges_win(memory: Memory) -> None:
    centre, *others = (memory.insert_node(f"{word} is a word") for word in "alpha beta gamma delta".split())
    for other, weight in zip(others, (0.1, 0.9, 0.5), strict=True):
        memory.insert_edge(other, centre, EdgeType.CITES, weight)
    assert [node.id for node in memory.neighbourhood(centre, max_nodes=3).nodes] == [centre, others[1], others[2]]


def test_without_a_centre_the_most_linked_come(memory: Memory) -> None:
    ids = chain(memory, "alpha", "beta", "gamma")
    memory.insert_node("nothing leads here")
    found = memory.neighbourhood(max_nodes=10)
    assert [node.id for node in found.nodes] == [ids[1], ids[0], ids[2]] and found.around is None


def test_another_namespace_is_not_seen(open_memory: Callable[..., Memory], brain: Path) -> None:
    with open_memory() as memory:
        first = chain(memory, "alpha", "beta")[0]
    other = open_memory(namespace="other")
    assert other.neighbourhood().nodes == ()
    with pytest.raises(KeyError):
        other.neighbourhood(first)


def test_a_picture_holds_the_labels_of_its_nodes(memory: Memory, tmp_path: Path) -> None:
    ids = chain(memory, "alpha", "beta")
    file = memory.picture(tmp_path / "graph.svg", around=ids[0])
    assert ">alpha is a word<" in file.read_text(encoding="utf-8")


def test_a_picture_around_an_unknown_node_is_a_key_error(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        memory.picture(tmp_path / "graph.svg", around=99)
    assert not (tmp_path / "graph.svg").exists()


def test_a_read_only_file_is_named_and_left(memory: Memory, unprivileged: Path) -> None:
    file = unprivileged / "graph.svg"
    file.write_text("mine")
    file.chmod(0o400)
    with pytest.raises(PermissionError, match=r"file: .*graph\.svg cannot be written"):
        memory.picture(file)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("options", [{"hops": 0}, {"max_nodes": 0}, {"max_nodes": 501}, {"hops": True}])
def test_numbers_out_of_range_are_named(memory: Memory, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        memory.neighbourhood(**options)  # type: ignore[arg-type]


def test_search_returns_hits_that_are_a_table(memory: Memory) -> None:
    chain(memory, "alpha", "beta")
    assert "alpha is a word" in memory.search("alpha", 1)._repr_html_()
