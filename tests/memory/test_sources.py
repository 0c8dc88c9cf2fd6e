"""ruvllm/memory/sources.py: how far a source is trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm.memory import Memory


@pytest.fixture
def memory(memory: Memory) -> Memory:
    memory.add([{"text": "the polar bear swims", "source": "a"}, {"text": "the polar bear swims far", "source": "b/c"}])
    memory.search("polar bear swims")
    return memory


def found(memory: Memory) -> list[str | None]:
    return [hit.node.source for hit in memory.search("polar bear swims")]


def test_trust_counts_from_the_next_search_on(memory: Memory) -> None:
    assert found(memory)[0] == "a"
    assert memory.set_trust("a", 0.2) == 1
    assert found(memory) == ["b/c", "a"]
    assert memory.set_trust("b", 0.0) == 1  # a folder
    assert found(memory) == ["a"]
    assert [(one.source, one.trust) for one in memory.sources()] == [("a", 0.2), ("b/c", 0.0)]


def test_trust_stays_with_a_new_version_and_ends_with_the_source(memory: Memory) -> None:
    memory.set_trust("a", 0.25)
    memory.add([{"text": "the polar bear walks", "source": "a"}])
    node = next(hit.node for hit in memory.search("polar bear walks") if hit.node.source == "a")
    assert node.trust == 0.25
    memory.forget("a")
    memory.add([{"text": "the polar bear walks", "source": "a"}])
    assert {one.source: one.trust for one in memory.sources()}["a"] == 1.0


def test_trust_is_exported(memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path) -> None:
    memory.set_trust("a", 0.2)
    memory.export(tmp_path / "brain.jsonl")
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "brain.jsonl")
    assert found(other) == ["b/c", "a"]
    assert other.sources() == memory.sources()


def test_trust_of_facts_with_a_source_is_set_too(memory: Memory) -> None:
    fact = memory.insert_node("seals fear bears", source="diary", trust=0.9)
    memory.set_trust("diary", 0.5)
    assert memory.get(fact).trust == 0.5


@pytest.mark.parametrize("trust", [-0.1, 1.5, float("nan"), "much"])
def test_trust_out_of_range_is_refused(memory: Memory, trust: float) -> None:
    with pytest.raises(ValueError, match="trust must be in"):
        memory.set_trust("a", trust)


def test_trust_of_an_unknown_source_names_it(memory: Memory) -> None:
    with pytest.raises(ValueError, match="nothing here is called 'z'"):
        memory.set_trust("z", 0.5)
