"""ruvllm/memory/links_snapshot.py: saved links are used while the database says the same, and only then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.memory.links import Links
from ruvllm.memory.links_snapshot import links_path
from ruvllm.types import EdgeType

from .test_links import edges_of, fresh

OpenMemory = Callable[..., Memory]


@pytest.fixture
def saved(open_memory: OpenMemory, brain: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Links 1 -> 2 -> 3 that were saved, as the file has them; so few are worth it here."""
    monkeypatch.setattr("ruvllm.memory.links.MIN_SAVED", 1)
    memory = open_memory()
    for text in ("one", "two", "three"):
        memory.insert_node(text)
    memory.insert_edge(1, 2, EdgeType.CITES, weight=0.5)
    memory.insert_edge(2, 3, EdgeType.SHARED_NAME, weight=0.25)
    memory.search("one")
    memory.close()
    return links_path(brain, "default").read_bytes()


def execute(memory: Memory, sql: str) -> None:
    memory._store.write(lambda connection: connection.execute(sql).fetchall())


def must_not_read(self: Links) -> None:
    raise AssertionError("edges are read from the database")


@pytest.mark.usefixtures("saved")
def test_saved_links_spare_reading_the_edges(open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = open_memory()
    expected = edges_of(fresh(memory))
    monkeypatch.setattr(Links, "_read", must_not_read)
    assert edges_of(memory._links.load()) == expected
    assert len(expected) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: memory.insert_edge(3, 1, EdgeType.CITES),
        lambda memory: memory.apply_outcome([1, 2], 0.9),
        lambda memory: memory.apply_outcome([1, 2], 0.1),
        lambda memory: memory.apply_decay(0.5, min_interactions=0, floor=0.2),
        lambda memory: memory.run_archival(max_age_days=0.0, min_use_count=99),
        lambda memory: execute(memory, "UPDATE edges SET ended = 2e9 WHERE src = 1"),
        lambda memory: execute(memory, "DELETE FROM nodes WHERE id = 3"),
    ],
)
def test_after_any_change_they_are_read_anew(
    open_memory: OpenMemory, brain: Path, saved: bytes, change: Callable[[Memory], object]
) -> None:
    memory = open_memory()
    change(memory)
    memory.close()
    links_path(brain, "default").write_bytes(saved)  # as if the process had died before it saved
    memory = open_memory()
    assert edges_of(memory._links.load()) == edges_of(fresh(memory))


def test_what_changed_while_it_was_open_is_saved(open_memory: OpenMemory, brain: Path, saved: bytes) -> None:
    memory = open_memory()
    memory.search("one")
    memory.insert_edge(3, 1, EdgeType.CITES)
    memory.close()
    assert links_path(brain, "default").read_bytes() != saved
    memory = open_memory()
    assert edges_of(memory._links.load()) == edges_of(fresh(memory))


def test_nothing_is_written_when_nothing_changed(open_memory: OpenMemory, brain: Path, saved: bytes) -> None:
    before = links_path(brain, "default").stat().st_mtime_ns
    memory = open_memory()
    memory.search("one")
    memory.close()
    assert links_path(brain, "default").stat().st_mtime_ns == before


def test_a_damaged_file_is_not_used(open_memory: OpenMemory, brain: Path, saved: bytes) -> None:
    for bad in (b"", b"\0" * 99, saved[:-1], saved[:-40] + bytes([saved[-40] ^ 1]) + saved[-39:]):
        links_path(brain, "default").write_bytes(bad)
        memory = open_memory()
        assert len(edges_of(memory._links.load())) == 2
        memory.close()


@pytest.mark.usefixtures("saved")
def test_links_saved_under_other_half_lives_are_not_used(open_memory: OpenMemory) -> None:
    config = load_config(environment={}, overrides={"learning": {"cites_half_life_days": 7.0}})
    memory = open_memory(config=config)
    memory._links.load()
    assert not memory._links._is_saved
