"""ruvllm/memory/history.py: what was replaced is kept, read as of a past time, and deleted in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ruvllm.config import load_config
from ruvllm.memory import Concept, Memory
from ruvllm.memory.history import alive_at, edges_at
from ruvllm.types import EdgeType

from .fakes import interaction


def at(memory: Memory, table: str, column: str, value: float | None, where: str = "1") -> None:
    sql = f"UPDATE {table} SET {column} = ? WHERE {where}"
    memory._store.write(lambda connection: connection.execute(sql, (value,)).fetchall())


@pytest.fixture
def changed(memory: Memory) -> Memory:
    """Node 1 held from 100 to 200, node 2 of the same document since 200, node 3 since 100; 3 and 1 are linked."""
    memory.add([{"text": "the old tale", "source": "s"}])
    memory.search("tale")
    assert memory.add([{"text": "the new tale", "source": "s"}]).updated == 1
    memory.insert_node("a fact")
    memory.insert_edge(3, 1, EdgeType.CITES)
    memory.insert_edge(3, 2, EdgeType.CITES)
    for column, value, where in (
        ("created", 100.0, "id <> 2"),
        ("ended", 200.0, "id = 1"),
        ("created", 200.0, "id = 2"),
    ):
        at(memory, "nodes", column, value, where)
    at(memory, "edges", "created", 150.0, "dst = 1")
    at(memory, "edges", "created", 250.0, "dst = 2")
    return memory


def test_replaced_chunks_are_kept_and_not_searched(changed: Memory) -> None:
    assert {hit.node.id for hit in changed.search("tale")} == {2, 3}
    assert [node.id for node in changed.find("tale")] == [2]
    assert changed.get(1).text == "the old tale"
    assert [edge.dst for edge, _ in changed.neighbours(1)] == [1]
    assert changed.check().findings == ()
    assert changed.add([{"text": "the new tale", "source": "s"}]).unchanged == 1


@pytest.mark.parametrize(
    ("moment", "searched", "ended"),
    [(99.0, [], []), (100.0, [3], [1]), (199.0, [3], [1]), (200.0, [2, 3], []), (300.0, [2, 3], [])],
)
def test_alive_at_a_past_time(changed: Memory, moment: float, searched: list[int], ended: list[int]) -> None:
    ids, rows = alive_at(changed._store, "default", moment)
    assert (ids.tolist(), [row[0] for row in rows]) == (searched, ended)
    assert all((text, len(vector)) == ("the old tale", 4 * 64) for _, text, _, vector in rows)


@pytest.mark.parametrize(
    ("moment", "pairs"),
    [(149.0, []), (150.0, [(3, 1)]), (199.0, [(3, 1)]), (200.0, []), (250.0, [(3, 2)])],
)
def test_edges_at_a_past_time(changed: Memory, moment: float, pairs: list[tuple[int, int]]) -> None:
    assert [row[:2] for row in edges_at(changed._store, "default", moment)] == pairs


def test_an_ended_edge_held_until_its_end(changed: Memory) -> None:
    at(changed, "edges", "ended", 180.0, "dst = 1")
    assert [len(edges_at(changed._store, "default", moment)) for moment in (179.0, 180.0)] == [1, 0]


def test_history_of_other_namespaces_is_not_seen(changed: Memory) -> None:
    ids, rows = alive_at(changed._store, "other", 150.0)
    assert (len(ids), rows, edges_at(changed._store, "other", 150.0)) == (0, [], [])


def test_compaction_deletes_old_history(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"store": {"history_days": 10}}))
    for version in range(3):
        memory.add([{"text": f"version {version}", "source": "s"}])
    at(memory, "nodes", "ended", time.time() - 11 * 86_400.0, "id = 1")
    memory.compact()
    assert memory._store.rows("SELECT id FROM nodes") == [(2,), (3,)]
    assert memory.check().findings == ()


def test_a_concept_goes_with_the_history_that_it_was_made_of(memory: Memory) -> None:
    memory.add([{"text": "the old tale", "source": "s"}])
    memory.search("tale")
    memory.put_concept(Concept("a tale in short"), {1: 0.9})
    memory.add([{"text": "the new tale", "source": "s"}])
    at(memory, "nodes", "ended", 200.0, "id = 1")
    memory.compact()
    assert memory._store.rows("SELECT id FROM nodes") == [(3,)]
    assert [hit.node.id for hit in memory.search("a tale in short")] == [3]
    assert memory.check().findings == ()


def test_forgetting_deletes_what_was_made_of_history_that_is_gone(changed: Memory) -> None:
    changed.record(interaction(answer="the old tale, told again", source_ids=(1,), used_ids=(1,)))
    changed.record(interaction("a2", answer="a fact it is", source_ids=(3,)))
    changed.compact()
    changed.add([{"text": "the newest tale", "source": "s"}])
    at(changed, "nodes", "ended", 200.0, "id = 2")
    changed.compact()
    assert changed._links.load().num_edges == 0  # no walk follows where something came from that is gone
    assert changed.forget("s") == 2
    assert changed.interaction("a1").answer is None
    assert changed.interaction("a2").answer == "a fact it is"
    assert changed.check().findings == ()


def test_forgetting_deletes_history_too(changed: Memory) -> None:
    assert changed.forget("s") == 2
    assert changed._store.rows("SELECT id FROM nodes") == [(3,)]


def test_history_outlives_a_document_whose_text_was_derived_from_what_is_forgotten(changed: Memory) -> None:
    changed.add([{"text": "a third tale", "source": "t"}])
    changed.insert_edge(2, 4, EdgeType.DERIVED)
    assert changed.forget("t") == 2
    assert changed.sources() == []
    assert sorted(hit.node.id for hit in changed.search("tale", as_of=150.0)) == [1, 3]
    changed.compact()
    assert changed._store.rows("SELECT id FROM nodes") == [(3,)]
    assert changed.check().findings == ()


def test_history_travels_and_is_not_searched_there(
    changed: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    changed.export(tmp_path / "x.jsonl")
    other: Any = open_memory(tmp_path / "other")
    for _ in range(2):
        other.import_file(tmp_path / "x.jsonl")
    assert sorted(hit.node.text for hit in other.search("tale")) == ["a fact", "the new tale"]
    assert [row[1] for row in alive_at(other._store, "default", 150.0)[1]] == ["the old tale"]
    assert other.check().findings == ()


def test_negative_history_is_refused() -> None:
    with pytest.raises(ValueError, match=r"store\.history_days"):
        load_config(environment={}, overrides={"store": {"history_days": -1}})


def test_search_as_of_a_past_time_finds_the_old_wording(memory: Memory) -> None:
    memory.add([{"text": "the ferry leaves at nine", "source": "ferry"}])
    then = time.time()
    memory.add([{"text": "the ferry leaves at noon", "source": "ferry"}])
    assert [hit.node.text for hit in memory.search("ferry leaves", as_of=then)] == ["the ferry leaves at nine"]
    assert [hit.node.text for hit in memory.search("ferry leaves")] == ["the ferry leaves at noon"]
    assert memory.search("ferry leaves", as_of="1999-12-31") == []


def test_filter_also_holds_for_what_has_ended(memory: Memory) -> None:
    memory.add([{"text": "the ferry leaves at nine", "source": "ferry", "metadata": {"n": 1}}])
    then = time.time()
    memory.add([{"text": "the ferry leaves at noon", "source": "ferry", "metadata": {"n": 1}}])
    assert len(memory.search("ferry", as_of=then, filter={"n": 1})) == 1
    assert memory.search("ferry", as_of=then, filter={"n": 2}) == []


def test_links_hold_as_of_their_time(memory: Memory) -> None:
    ship, fuel = memory.insert_node("Petrel ship"), memory.insert_node("diesel for winter")
    then = time.time()
    memory.insert_edge(ship, fuel, EdgeType.CITES, weight=0.9)
    assert memory._links.at(then).num_edges == 0
    now, before = (
        {hit.node.id: hit.score for hit in memory.search("Petrel ship", as_of=moment)} for moment in (None, then)
    )
    assert now[fuel] > before[fuel]


@pytest.mark.parametrize("moment", ["soon", float("nan"), True])
def test_bad_as_of_is_named(memory: Memory, moment: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="as_of must be"):
        memory.search("x", as_of=moment)
