"""ruvllm/memory/usage.py: what searches return is counted, together and off their path."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.memory.usage import Usage

from .fakes import interaction

SLOW = load_config(environment={}, overrides={"store": {"flush_interval_s": 3600.0}})


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    """Counts reach the disk only when told to."""
    memory = open_memory(config=SLOW)
    for text in ("red fox", "red hen", "red cow"):
        memory.insert_node(text)
    return memory


def uses(memory: Memory) -> list[int]:
    return [memory.get(node).use_count for node in (1, 2, 3)]


def test_returned_nodes_are_counted_with_the_next_batch(memory: Memory) -> None:
    started = time.time()
    for _ in range(4):
        memory.search("fox", k=1)
    assert uses(memory) == [0, 0, 0]
    memory.flush()
    assert uses(memory) == [4, 0, 0]
    assert memory.get(1).last_used >= started


def test_searches_of_an_interval_are_one_transaction(memory: Memory) -> None:
    memory.flush()
    before = memory._store.version()
    for _ in range(50):
        memory.search("red")
    assert memory._store.version() == before
    memory.flush()
    assert uses(memory) == [50, 50, 50]


def test_counts_are_written_after_the_interval(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"store": {"flush_interval_s": 0.01}}))
    memory.insert_node("red fox")
    memory.search("red")
    timer = memory._usage._later._timer
    if timer is not None:  # else it has run already
        timer.join()
    assert memory.get(1).use_count == 1


def test_closing_loses_no_count(open_memory: Callable[..., Memory], memory: Memory) -> None:
    memory.search("red")
    memory.close()
    assert uses(open_memory()) == [1, 1, 1]


def test_nodes_found_together_are_counted(memory: Memory) -> None:
    memory.search("red")
    memory.search("red fox", k=2)
    memory.flush()
    second = memory._store.value("SELECT b FROM co_retrievals WHERE count = 2")
    assert [(node.id, count) for node, count in memory.co_retrieved(1)] == sorted(
        [(second, 2), (5 - second, 1)], key=lambda pair: -pair[1]
    )
    assert memory.co_retrieved(second, k=1)[0][0].id == 1


def test_only_the_first_hits_count_as_found_together(memory: Memory) -> None:
    for i in range(30):
        memory.insert_node(f"red number{i}")
    memory.search("red", k=30)
    memory.flush()
    assert memory._store.value("SELECT count(*) FROM co_retrievals") == 45


def test_decay_keeps_the_pairs_that_were_found_together_most_often(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.memory.usage.BATCH_PAIRS", 2)
    for i in range(30):
        memory.insert_node(f"red number{i}")
    memory.search("red", k=30)
    memory.search("red", k=3)
    memory.flush()
    pairs = memory._store.rows("SELECT a, b, count FROM co_retrievals ORDER BY count DESC, a DESC, b DESC")
    assert memory.apply_decay().pairs == 0
    monkeypatch.setattr("ruvllm.memory.usage.MAX_PAIRS", 10)
    assert memory.apply_decay(cancelled=lambda: True).pairs == 0
    assert memory.apply_decay().pairs == len(pairs) - 10
    assert sorted(memory._store.rows("SELECT a, b, count FROM co_retrievals")) == sorted(pairs[:10])


def test_nodes_deleted_meanwhile_are_passed_over(memory: Memory) -> None:
    memory.add([{"text": "red kite", "source": "kite"}])
    memory.search("red")
    memory.forget("kite")
    memory.flush()
    assert uses(memory) == [1, 1, 1]
    assert memory._store.value("SELECT count(*) FROM co_retrievals") == 3
    assert memory.check().ok


def test_answers_on_probation_are_shown_to_no_one_else(memory: Memory) -> None:
    memory.record(interaction(answer="red answer", session="alice"))
    memory.flush()
    found = [hit.node.id for hit in memory.search("red", session="alice")]
    memory.flush()
    answer = memory.interaction("a1").answer_node
    assert answer in found
    assert answer not in [node.id for node, _ in memory.co_retrieved(1)]


def test_last_use_never_goes_back(memory: Memory) -> None:
    ahead = time.time() + 1e6
    memory._store.write(lambda c: c.execute("UPDATE nodes SET last_used = ? WHERE id = 1", (ahead,)).fetchall())
    memory.search("red")
    memory.flush()
    assert memory.get(1).last_used == ahead


def test_reader_counts_nothing(open_memory: Callable[..., Memory], memory: Memory) -> None:
    reader = open_memory(read_only=True)
    assert reader.search("red")
    reader.flush()
    reader.close()
    assert uses(memory) == [0, 0, 0]


def test_counts_that_cannot_be_written_are_given_up(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    usage = Usage(memory._store, 3600.0)
    usage.note([1, 2])
    memory.close()
    with caplog.at_level(logging.WARNING):
        usage.close()
    assert "uses of 2 nodes are not counted" in caplog.text
    usage.note([1])
    assert usage._later._timer is None


def test_unknown_node_has_no_company(memory: Memory) -> None:
    with pytest.raises(KeyError):
        memory.co_retrieved(99)
