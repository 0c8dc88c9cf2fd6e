"""ruvllm/memory/sessions.py: conversations are listed, resumed by name, and deleted for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm.errors import BrainReadOnly
from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import interaction

Open = Callable[..., Memory]


def test_sessions_are_listed_with_their_times_and_turns(memory: Memory) -> None:
    for i, session in enumerate(("alice", "bob", "alice")):
        memory.record(interaction(f"a{i}", session=session, created=1000.0 + i))
    found = [(one.name, one.created, one.last_used, one.turns) for one in memory.sessions()]
    assert found == [("alice", 1000.0, 1002.0, 2), ("bob", 1001.0, 1001.0, 1)]


def test_a_new_session_is_there_after_a_restart_and_before_its_first_turn(open_memory: Open) -> None:
    with open_memory() as memory:
        names = [memory.new_session("mine"), memory.new_session(), memory.new_session()]
    memory = open_memory()
    assert {one.name for one in memory.sessions()} == set(names) and len(set(names)) == 3
    assert all(one.turns == 0 for one in memory.sessions()) and memory.turns("mine") == []


def test_a_turn_of_a_new_session_does_not_list_it_twice(memory: Memory) -> None:
    memory.new_session("alice")
    memory.record(interaction("a1", session="alice"))
    assert [(one.name, one.turns) for one in memory.sessions()] == [("alice", 1)]


def test_as_many_are_counted_as_are_listed(memory: Memory) -> None:
    memory.new_session("alice")
    memory.new_session("bob")
    for i, session in enumerate(("alice", "carol", None)):
        memory.record(interaction(f"a{i}", session=session))
    assert len(memory.sessions()) == memory.stats().sessions == 3


def test_the_newest_turns_are_read_without_the_others(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[object, ...]]] = []
    store, rows = memory._store, memory._store.rows
    monkeypatch.setattr(store, "rows", lambda sql, values=(): asked.append((sql, values)) or rows(sql, values))
    memory.turns("alice")
    memory.count_turns("alice")
    plans = [[row[3] for row in rows(f"EXPLAIN QUERY PLAN {sql}", values)] for sql, values in asked]
    assert len(plans) == 2
    assert not any("TEMP B-TREE" in step for step in plans[0])  # in the order of the index, so that a limit ends it
    assert any("USING COVERING INDEX interactions_in_session" in step for step in plans[1])


def test_a_name_that_is_taken_is_refused(memory: Memory) -> None:
    memory.new_session("mine")
    memory.record(interaction("a1", session="alice"))
    for name in ("mine", "alice"):
        with pytest.raises(ValueError, match=f"name: there is a session '{name}' already"):
            memory.new_session(name)


def test_deleting_takes_turns_and_nodes_with_it(memory: Memory) -> None:
    memory.add(["An index is a structure for search."])
    memory.record(interaction("a1", session="alice", source_ids=(1,)))
    memory.record(interaction("b1", session="bob", source_ids=(1,)))
    memory.feedback("a1", Feedback(rating=5))
    assert memory.delete_session("alice") == 2
    assert memory.turns("alice") == [] and [one.name for one in memory.sessions()] == ["bob"]
    assert len(memory.search("a structure for search", session="alice")) == 1
    with pytest.raises(ValueError, match="there is no answer 'a1'"):
        memory.interaction("a1")
    assert memory.stats().feedback == 0 and memory.check().ok


def test_no_words_of_a_deleted_session_are_left_in_the_file(open_memory: Open, brain: Path) -> None:
    with open_memory() as memory:
        memory.record(interaction("a1", session="alice", query="Where is Zanzibariana?", answer="In Quuxlandia."))
        memory.flush()
        memory.delete_session("alice")
        memory.compact()
    assert not any(word in (brain / "brain.db").read_bytes() for word in (b"Zanzibariana", b"Quuxlandia"))


def test_what_was_promoted_or_corrected_stays(memory: Memory) -> None:
    for session in ("alice", "bob"):
        memory.record(interaction(f"{session}1", session=session))
        memory.feedback(f"{session}1", Feedback(rating=5))
    memory.record(interaction("alice2", session="alice", query="Who bakes?", answer="Nobody."))
    memory.feedback("alice2", Feedback(correction="Mathilde bakes."))
    before = {hit.node.text for hit in memory.search("index structure who bakes")}
    for session in ("alice", "bob"):
        memory.delete_session(session)
    hits = memory.search("index structure who bakes")
    assert {hit.node.text for hit in hits} == before == {"A structure for search.", "Mathilde bakes."}
    assert all(hit.node.session is None for hit in hits) and memory.check().ok


def test_what_ratings_taught_edges_stays_within_its_daily_bound(memory: Memory) -> None:
    memory.add(["one text", "two text"])
    memory.insert_edge(1, 2, "Cites", 0.5)  # type: ignore[arg-type]
    for i in range(30):
        memory.record(interaction(f"a{i}", session="alice", source_ids=(1, 2), used_ids=(1, 2)))
        memory.feedback(f"a{i}", Feedback(rating=5))
    ((before, _),) = memory.neighbours(1, "Cites")[:1]  # type: ignore[arg-type]
    memory.delete_session("alice")
    memory.record(interaction("again", session="alice", source_ids=(1, 2), used_ids=(1, 2)))
    memory.feedback("again", Feedback(rating=5))
    weights = [edge.weight for edge, node in memory.neighbours(1) if node.id == 2]
    assert before.weight > 0.5 and max(weights) == pytest.approx(0.7, abs=1e-3)


def test_a_session_of_another_namespace_is_not_there(open_memory: Open) -> None:
    with open_memory(namespace="one") as memory:
        memory.record(interaction("a1", session="alice", namespace="one"))
        memory.new_session("empty")
    memory = open_memory(namespace="two")
    assert memory.sessions() == [] and memory.turns("alice") == []
    for name in ("alice", "empty"):
        with pytest.raises(ValueError, match=f"name: there is no session '{name}' here"):
            memory.delete_session(name)
    assert memory.new_session("alice") == "alice"


def test_a_reader_lists_but_does_not_delete(open_memory: Open) -> None:
    with open_memory() as memory:
        memory.record(interaction("a1", session="alice"))
    reader = open_memory(read_only=True)
    assert [one.name for one in reader.sessions()] == ["alice"]
    for write in (lambda: reader.delete_session("alice"), lambda: reader.new_session("x")):
        with pytest.raises(BrainReadOnly):
            write()


@pytest.mark.parametrize(("name", "error"), [("", ValueError), (3, TypeError), ("\ud800", ValueError)])
def test_what_is_no_name_is_refused(memory: Memory, name: object, error: type) -> None:
    for use in (memory.new_session, memory.delete_session):
        with pytest.raises(error, match="name"):
            use(name)  # type: ignore[operator]
    with pytest.raises(error, match="session"):
        memory.turns(name)  # type: ignore[arg-type]
