"""ruvllm/memory/nearest.py: building beside searches, filters through HNSW, falling back to exact."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from ruvllm.config import Config
from ruvllm.memory import HnswIndex, Memory
from ruvllm.memory import nearest as nearest_module
from ruvllm.memory.index import IndexUnusable

from .fakes import unit_vectors


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is built in the background, a few vectors at a time."""
    monkeypatch.setattr(nearest_module, "INLINE_ROWS", 4)
    monkeypatch.setattr(nearest_module, "BUILD_ROWS", 16)


class HeldBuild(NamedTuple):
    """Building stops after its second batch, says so, and waits."""

    has_stopped: threading.Event
    may_go_on: threading.Event


@pytest.fixture
def held_build(monkeypatch: pytest.MonkeyPatch) -> HeldBuild:
    held, batches, add = HeldBuild(threading.Event(), threading.Event()), list[int](), HnswIndex.add

    def held_add(self: HnswIndex, labels: np.ndarray, vectors: np.ndarray, **options: Any) -> None:
        batches.append(len(labels))
        if len(batches) == 3:
            held.has_stopped.set()
            held.may_go_on.wait(30)
        add(self, labels, vectors, **options)

    monkeypatch.setattr(HnswIndex, "add", held_add)
    return held


def insert(memory: Memory, first: int, last: int) -> None:
    memory.add({"text": f"item{i} unlike any other", "source": f"s{i}"} for i in range(first, last))


@pytest.fixture
def filled(open_memory: Callable[..., Memory]) -> Memory:
    memory = open_memory()
    insert(memory, 0, 100)
    memory.close()
    return memory


def test_search_is_exact_while_the_index_is_built_and_misses_nothing_afterwards(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config, held_build: HeldBuild
) -> None:
    memory = open_memory(config=hnsw_config)
    assert memory.search("item7", k=1)[0].node.source == "s7"
    assert memory.stats().index == "building"
    memory.insert_node("item500 came meanwhile", source="s500")
    memory.forget("s7")
    assert memory.search("item500", k=1)[0].node.source == "s500"

    held_build.may_go_on.set()
    memory._nearest.settle()

    assert (memory.stats().index, memory.stats().indexed) == ("ready", 100)
    sources = {hit.node.source for hit in memory.search("item7 unlike any other", k=100)}
    assert "s500" in sources and "s7" not in sources


def test_close_stops_building_and_the_next_opening_goes_on(
    filled: Memory,
    open_memory: Callable[..., Memory],
    hnsw_config: Config,
    held_build: HeldBuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nearest_module, "MIN_UNSAVED", 1)
    first = open_memory(config=hnsw_config)
    first.search("item7")
    held_build.has_stopped.wait(30)
    first._nearest._stop.set()
    held_build.may_go_on.set()
    first.close()
    loaded: list[int] = []
    load = HnswIndex.load
    monkeypatch.setattr(HnswIndex, "load", lambda *a, **o: (index := load(*a, **o), loaded.append(len(index)))[0])

    memory = open_memory(config=hnsw_config)
    memory.search("item7")
    memory._nearest.settle()

    assert 0 < loaded[0] < 100
    assert memory.stats().indexed == 100


def test_failing_build_leaves_search_exact(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config, monkeypatch: Any, caplog: Any
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(HnswIndex, "add", fail)
    memory = open_memory(config=hnsw_config)
    assert memory.search("item7", k=1)[0].node.source == "s7"
    memory._nearest.settle()
    assert memory.stats().index == "exact"
    assert "search stays exact" in caplog.text


def test_build_that_lost_its_vectors_begins_again(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config, held_build: HeldBuild, monkeypatch: Any
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no room")

    memory = open_memory(config=hnsw_config)
    memory.search("item7")
    held_build.has_stopped.wait(30)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr("ruvllm.memory.vectors.VectorMatrix.add", fail)
        memory.insert_node("zebra stripes")
    held_build.may_go_on.set()
    memory._nearest.settle()
    memory.search("item7")
    memory._nearest.settle()
    assert (memory.stats().index, memory.stats().indexed) == ("ready", 101)


def test_index_that_cannot_answer_is_replaced_by_exact_search(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config, monkeypatch: Any
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise IndexUnusable("it finds too few")

    memory = open_memory(config=hnsw_config)
    memory._nearest.prepare()
    monkeypatch.setattr(HnswIndex, "search_batch", fail)
    assert memory.search("item7", k=1)[0].node.source == "s7"


def test_a_node_can_be_added_while_compaction_waits(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config
) -> None:
    memory, added = open_memory(config=hnsw_config), list[bool]()
    memory.search("item7", k=1)
    memory._nearest.settle()
    for i in range(50):
        memory.forget(f"s{i}")

    def cancelled() -> bool:
        adding = threading.Thread(target=memory.insert_node, args=(f"node {len(added)}",), daemon=True)
        adding.start()
        adding.join(30)
        added.append(not adding.is_alive())
        return not added[-1]

    assert memory._nearest.compact(cancelled)
    assert all(added)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.9, 1.0])
def test_search_among_some_finds_the_nearest_of_them(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config, share: float
) -> None:
    memory = open_memory(config=hnsw_config)
    memory._nearest.prepare()
    ids = memory._nearest.load().ids()
    kept = np.sort(np.random.default_rng(0).permutation(ids)[: int(share * len(ids))])
    query = unit_vectors(1, 64, seed=3)[0]
    found, _ = memory._nearest.search(query, 5, among=kept)
    exact, _ = memory._nearest.load().search(query, 5, among=kept)
    assert set(found.tolist()) <= set(kept.tolist())
    assert len(set(found.tolist()) & set(exact.tolist())) >= min(5, len(kept)) - 1


def test_reader_without_a_usable_index_searches_exactly(
    filled: Memory, open_memory: Callable[..., Memory], hnsw_config: Config
) -> None:
    memory = open_memory(config=hnsw_config, read_only=True)
    assert memory.search("item7", k=1)[0].node.source == "s7"
    assert memory.stats().index == "exact"


def test_interrupted_update_is_made_good_by_the_next_search(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(memory, 0, 3)
    memory.search("item1")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ruvllm.memory.vectors.VectorMatrix.add", interrupted)
        memory.insert_node("zebra stripes")

    assert memory.search("zebra stripes", k=1)[0].node.text == "zebra stripes"
