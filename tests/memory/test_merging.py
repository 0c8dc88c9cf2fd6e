"""ruvllm/memory/merging.py: the same answer again, in one session and in two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm.memory import Memory
from ruvllm.types import EdgeType, Feedback, Interaction, NodeType, Turn

from .fakes import interaction

SAID = (
    "The index is a structure for search that maps every key to the place where its value lies on disk, so that a "
    "reader need not go through all pages of the table when only one row of it was asked for"
)
AGAIN = SAID + " today"


@pytest.fixture
def memory(memory: Memory) -> Memory:
    memory.add({"text": f"source number {i}", "source": f"s{i}"} for i in (1, 2, 3))
    return memory


def ask(memory: Memory, id: str, answer: str, sources: tuple[int, ...] = (1,), **fields: object) -> int:
    """Record an answer and return the node that stands for it."""
    memory.record(interaction(id, answer=answer, source_ids=sources, used_ids=sources[:1], **fields))
    return memory.interaction(id).answer_node or 0


def found(memory: Memory, session: str = "alice") -> list[int]:
    """The answers that a session finds."""
    hits = memory.search("what is an index", k=20, filter={"type": "Answer"}, session=session)
    return [hit.node.id for hit in hits]


def parents(memory: Memory, answer: int) -> set[int]:
    return {edge.dst for edge, _ in memory.neighbours(answer, EdgeType.DERIVED) if edge.src == answer}


def test_same_answer_twice_is_one_node(memory: Memory) -> None:
    first = ask(memory, "a1", SAID)
    assert ask(memory, "a2", SAID, (2,)) == first
    assert found(memory) == [first]
    assert memory.stats().nodes_by_type[NodeType.ANSWER] == 1
    assert (memory.get(first).use_count, parents(memory, first)) == (1, {1, 2})


def test_near_equal_answer_is_kept_for_its_turn_and_not_searched(memory: Memory) -> None:
    first = ask(memory, "a1", SAID, created=1.0)
    assert ask(memory, "a2", AGAIN, (2,), created=2.0) == first
    assert found(memory) == [first]
    assert [turn.answer for turn in memory.turns("alice")] == [SAID, AGAIN]
    record = memory.interaction("a2")
    assert (record.answer, record.source_ids, record.session) == (AGAIN, (2,), "alice")
    assert memory.check().ok


def test_surer_answer_takes_over(memory: Memory) -> None:
    first = ask(memory, "a1", SAID, (1,), confidence=0.6, created=1.0)
    second = ask(memory, "a2", AGAIN, (2,), confidence=0.8, created=2.0)
    assert second != first and found(memory) == [second]
    assert memory.interaction("a1").answer_node == second
    assert memory.turns("alice") == [Turn("What is an index?", SAID, 1.0), Turn("What is an index?", AGAIN, 2.0)]
    assert (parents(memory, second), memory.get(second).use_count) == ({1, 2}, 1)
    assert memory.check().ok


def test_answer_that_was_rated_or_corrected_stays(memory: Memory) -> None:
    first = ask(memory, "a1", SAID, confidence=0.6)
    memory.feedback("a1", Feedback(rating=2))
    assert ask(memory, "a2", AGAIN, confidence=0.9) == first
    memory.feedback("a2", Feedback(correction="A map."))
    assert ask(memory, "a3", AGAIN + " so", confidence=1.0) == first
    assert memory.get(first).trust == 0.0


@pytest.mark.parametrize("fields", [{"session": "bob"}, {"namespace": "other"}, {"query": "Who keeps polar bears?"}])
def test_nothing_is_merged_beyond_session_namespace_and_question(memory: Memory, fields: dict[str, str]) -> None:
    first = ask(memory, "a1", SAID)
    memory.record(interaction("a2", answer=SAID, confidence=1.0, **fields))
    memory.flush()
    assert found(memory)[0] == first and memory.get(first).use_count == 0
    assert memory._store.value("SELECT count(*) FROM nodes WHERE type = 'Answer' AND ended IS NULL") == 2


def test_answers_without_a_session_are_nobodys_twins(memory: Memory) -> None:
    assert ask(memory, "a1", SAID, session=None) != ask(memory, "a2", SAID, session=None)


def test_answer_that_was_unsure_is_no_twin(memory: Memory) -> None:
    unsure = ask(memory, "a1", SAID, confidence=0.1)
    second = ask(memory, "a2", SAID)
    assert second != unsure and found(memory) == [second]
    assert ask(memory, "a3", SAID, confidence=0.1) not in (unsure, second)


def test_repeated_answer_has_no_edge_to_itself(memory: Memory) -> None:
    first = ask(memory, "a1", SAID)
    assert ask(memory, "a2", SAID, (first, 2)) == first
    assert parents(memory, first) == {1, 2}


def test_feedback_on_a_merged_answer_moves_the_edges_of_the_one_that_stands_for_it(memory: Memory) -> None:
    answer = ask(memory, "a1", SAID)
    ask(memory, "a2", AGAIN, (2,))
    before = {edge.dst: edge.weight for edge, _ in memory.neighbours(answer, EdgeType.DERIVED)}
    memory.feedback("a2", Feedback(quality=1.0))
    after = {edge.dst: edge.weight for edge, _ in memory.neighbours(answer, EdgeType.DERIVED)}
    assert after[2] > before[2] and after[1] == pytest.approx(before[1])


def test_merging_keeps_what_outcomes_did_to_edges(memory: Memory) -> None:
    answer = ask(memory, "a1", SAID)
    memory.feedback("a1", Feedback(quality=1.0))
    learnt = {(edge.dst, edge.type): edge.weight for edge, _ in memory.neighbours(answer) if edge.src == answer}
    ask(memory, "a2", SAID)
    kept = {(edge.dst, edge.type): edge.weight for edge, _ in memory.neighbours(answer) if edge.src == answer}
    assert kept == pytest.approx(learnt)


@pytest.mark.parametrize(
    ("confidence", "source", "left"), [(0.5, "s1", [AGAIN]), (0.5, "s2", []), (1.0, "s1", []), (1.0, "s2", [SAID])]
)
def test_forgetting_a_source_takes_the_answer_that_stands_for_both_and_leaves_the_other(
    memory: Memory, confidence: float, source: str, left: list[str]
) -> None:
    ask(memory, "a1", SAID, (1,), created=1.0)
    ask(memory, "a2", AGAIN, (2,), created=2.0, confidence=confidence)  # 1.0 takes over
    memory.forget(source)
    assert [memory.get(node).text for node in found(memory)] == left
    assert [turn.answer for turn in memory.turns("alice")] == left  # what was never derived from it
    assert memory.check().ok


def test_promoted_answer_learns_where_else_it_comes_from(memory: Memory) -> None:
    answer = ask(memory, "a1", SAID)
    memory.promote(answer)
    memory.search("what is an index")
    assert ask(memory, "a2", AGAIN, (2,), confidence=1.0) == answer
    assert memory._links.load().edge(answer, 2, list(EdgeType).index(EdgeType.DERIVED)) is not None


def test_export_and_import_keep_what_was_said(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    ask(memory, "a1", SAID, created=1.0)
    ask(memory, "a2", AGAIN, created=2.0)
    memory.export(tmp_path / "first.jsonl")
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "first.jsonl")
    other.export(tmp_path / "second.jsonl")
    assert other.turns("alice") == memory.turns("alice")
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


def test_newest_turns_of_a_long_session_are_compared(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.merging.RECENT", 4)
    monkeypatch.setattr("ruvllm.memory.merging.SESSIONS", 1)
    for i in range(40):
        ask(memory, f"a{i}", f"Answer {i} is {i * i}.", query=f"Question {i} about {i * i}?")
        ask(memory, f"b{i}", "Short.", session="bob")
    last = memory.interaction("a39").answer_node
    assert ask(memory, "again", "Answer 39 is 1521.", query="Question 39 about 1521?") == last
    assert ask(memory, "late", "Answer 0 is 0.", query="Question 0 about 0?") != memory.interaction("a0").answer_node


def test_session_that_was_imported_into_is_known(memory: Memory, tmp_path: Path) -> None:
    ask(memory, "a1", SAID)
    memory.export(tmp_path / "brain.jsonl")
    memory.forget("s1")
    ask(memory, "a2", "Something else.", (2,), query="Who?")
    memory._store.write(lambda connection: connection.execute("DELETE FROM interactions WHERE id = 'a1'").fetchall())
    memory.import_file(tmp_path / "brain.jsonl")
    assert ask(memory, "a3", SAID, (2,)) == memory.interaction("a1").answer_node


def test_group_is_merged_within_itself(memory: Memory) -> None:
    one: Interaction = interaction("a1", answer=SAID)
    for i in range(5):
        memory.record(replace(one, id=f"a{i}"))
    memory.flush()
    assert memory.stats().nodes_by_type[NodeType.ANSWER] == 1
    assert memory.stats().interactions == 5


def test_an_id_that_is_taken_leads_to_nobody_elses_answer(memory: Memory) -> None:
    hers = ask(memory, "x", SAID, session="alice")
    ask(memory, "b0", "Nothing of the kind.", session="bob", query="Anything new?")
    ask(memory, "x", SAID, session="bob")
    assert ask(memory, "y", SAID, session="bob") != hers


def test_sessions_stay_known_between_groups(memory: Memory) -> None:
    first = ask(memory, "a1", SAID)
    memory.flush()
    assert memory._recent._sessions
    assert ask(memory, "a2", SAID) == first
