"""ruvllm/memory/feedback.py: what feedback says anew replaces what it said; marks decide credit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.memory.feedback import outcome_of
from ruvllm.types import EdgeType, Feedback

from .fakes import interaction

SLOW = load_config(environment={}, overrides={"store": {"flush_interval_s": 3600.0}})
Weights = dict[tuple[int, int, str], tuple[float, int, int]]


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    """Three sources with an edge from the first to the second, and an answer that showed all and used the second."""
    return with_answer(open_memory(config=SLOW))


def with_answer(memory: Memory) -> Memory:
    memory.add([{"text": f"source {name}", "source": name} for name in "abc"])
    memory.insert_edge(1, 2, EdgeType.CITES, 0.5)
    memory.record(interaction(source_ids=(1, 2, 3), used_ids=(2,), created=time.time()))
    memory.flush()
    return memory


def weights(memory: Memory) -> Weights:
    rows = memory._store.rows("SELECT src, dst, type, weight, success, failure FROM edges")
    return {row[:3]: row[3:] for row in rows}


def moved(memory: Memory, before: Weights) -> set[tuple[int, int, str]]:
    return {key for key, row in weights(memory).items() if row != before[key]}


def answer_of(memory: Memory) -> int:
    return memory.interaction("a1").answer_node or 0


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(first[key] == pytest.approx(second[key]) for key in first)


@pytest.mark.parametrize(
    ("feedback", "quality", "is_good"),
    [
        (Feedback(rating=1), 0.0, False),
        (Feedback(rating=5), 1.0, True),
        (Feedback(rating=5, quality=0.2), 0.2, False),
        (Feedback(quality=0.9, task_success=False), 0.9, None),
        (Feedback(quality=0.1, task_success=True), 0.1, None),
        (Feedback(task_success=True), 1.0, True),
        (Feedback(marks={1: True, 2: False}), 1.0, True),
    ],
)
def test_outcome_of_feedback(feedback: Feedback, quality: float, is_good: bool | None) -> None:
    outcome = outcome_of(feedback)
    assert outcome is not None
    assert (outcome.quality, outcome.is_good) == (quality, is_good)


@pytest.mark.parametrize("feedback", [None, Feedback(correction="x"), Feedback(marks={1: False})])
def test_feedback_that_states_no_outcome(feedback: Feedback | None) -> None:
    assert outcome_of(feedback) is None


def test_rating_moves_edges_to_the_sources_and_among_them(memory: Memory) -> None:
    before, answer = weights(memory), answer_of(memory)
    memory.feedback("a1", Feedback(rating=5))
    derived = {(answer, source, "Derived") for source in (1, 2, 3)}
    assert moved(memory, before) == derived | {(answer, 2, "Cites"), (1, 2, "Cites")}
    assert weights(memory)[1, 2, "Cites"][0] == pytest.approx(0.5 + 0.1 * 0.25 * 0.5)


def test_graph_in_memory_hears_of_feedback(memory: Memory) -> None:
    memory._links.load()
    memory.feedback("a1", Feedback(rating=5))
    values = memory._links.load().edge(1, 2, 0)
    assert values is not None
    assert (values.weight, values.successes) == (pytest.approx(0.5 + 0.1 * 0.25 * 0.5), 1)


def test_second_rating_replaces_the_first_exactly(memory: Memory, open_memory: Any, tmp_path: Any) -> None:
    other = with_answer(open_memory(tmp_path / "other", config=SLOW))
    memory.feedback("a1", Feedback(rating=5))
    memory.feedback("a1", Feedback(rating=1))
    other.feedback("a1", Feedback(rating=1))
    assert same(weights(memory), weights(other))


def test_rating_after_a_source_was_forgotten(memory: Memory) -> None:
    memory.feedback("a1", Feedback(rating=5))
    memory.forget("c")
    memory.feedback("a1", Feedback(rating=1))
    cites = weights(memory)[1, 2, "Cites"]
    assert cites == (pytest.approx(0.5 - 0.1 * 0.25 * 0.5), 0, 1)
    assert memory.check().ok


def test_mark_decides_the_credit_of_a_source(memory: Memory) -> None:
    before, answer = weights(memory), answer_of(memory)
    memory.feedback("a1", Feedback(rating=5, marks={1: True, 2: False}))
    assert moved(memory, before) == {(answer, 1, "Derived"), (answer, 3, "Derived")}
    assert weights(memory)[answer, 1, "Derived"][0] == pytest.approx(0.4 + 0.1 * 0.6)
    rows = memory._store.rows("SELECT node, credit, decided_by FROM credits ORDER BY node")
    assert rows == [(1, 1.0, "mark"), (2, 0.0, "mark")]


def test_marks_alone_move_only_what_they_name(memory: Memory) -> None:
    before, answer = weights(memory), answer_of(memory)
    memory.feedback("a1", Feedback(marks={1: True, 3: False}))
    assert moved(memory, before) == {(answer, 1, "Derived")}
    assert memory.interaction("a1").feedback == Feedback(marks={1: True, 3: False})


def test_marks_add_up_and_later_ones_replace(memory: Memory) -> None:
    memory.feedback("a1", Feedback(rating=4, marks={1: True, 2: True}))
    memory.feedback("a1", Feedback(rater="bob", marks={2: False}))
    said = Feedback(rating=4, rater="bob", marks={1: True, 2: False})
    assert memory.interaction("a1").feedback == said


def test_credit_that_attribution_decided_counts_unless_marked(memory: Memory) -> None:
    answer = answer_of(memory)
    credits = [("a1", node, 0.5, "attribution") for node in (1, 2)]
    memory._store.write(lambda c: c.executemany("INSERT INTO credits VALUES (?, ?, ?, ?)", credits).fetchall())
    memory.feedback("a1", Feedback(quality=1.0, marks={2: True}))
    assert weights(memory)[answer, 1, "Derived"][0] == pytest.approx(0.4 + 0.05 * 0.6)
    assert weights(memory)[answer, 2, "Derived"][0] == pytest.approx(0.6 + 0.1 * 0.4)


def test_mark_of_a_source_that_was_not_shown_is_refused(memory: Memory) -> None:
    other = memory.insert_node("something else")
    with pytest.raises(ValueError, match=f"marks: the answer 'a1' did not show node {other}"):
        memory.feedback("a1", Feedback(rating=5, marks={other: True}))
    assert memory.interaction("a1").feedback is None


def test_mark_of_a_forgotten_source_is_passed_over(memory: Memory) -> None:
    memory.forget("c")
    memory.feedback("a1", Feedback(marks={3: True, 1: True}))
    assert memory.interaction("a1").feedback == Feedback(marks={1: True})


def test_an_answer_that_goes_with_its_session_while_it_is_rated_is_named(memory: Memory, monkeypatch: Any) -> None:
    record = memory.interaction("a1")
    memory.delete_session("alice")
    monkeypatch.setattr(memory, "interaction", lambda id: record)  # read just before
    with pytest.raises(ValueError, match="id: there is no answer 'a1'"):
        memory.feedback("a1", Feedback(rating=5))


def test_feedback_of_which_nothing_is_left_is_none(memory: Memory) -> None:
    memory.feedback("a1", Feedback(marks={3: True}))
    memory.forget("c")
    assert memory.interaction("a1").feedback is None
    memory.feedback("a1", Feedback(rating=3))
    assert memory.interaction("a1").feedback == Feedback(rating=3)


def test_ratings_of_many_answers_by_one_rater_are_bounded(memory: Memory) -> None:
    for i in range(100):
        memory.record(interaction(f"b{i}", source_ids=(1, 2), used_ids=(1, 2), created=time.time()))
        memory.feedback(f"b{i}", Feedback(rating=1, rater="mallory"))
    assert weights(memory)[1, 2, "Cites"][0] == pytest.approx(0.5 - memory.config.learning.max_move_per_day)


def test_bad_answer_is_blamed_on_the_sources_that_did_not_help(memory: Memory) -> None:
    before, answer = weights(memory), answer_of(memory)
    memory.feedback("a1", Feedback(rating=1, marks={1: True, 2: False}))
    assert weights(memory)[answer, 1, "Derived"] == before[answer, 1, "Derived"]
    assert weights(memory)[answer, 2, "Derived"][0] == pytest.approx(0.6 - 0.1 * 0.6)


def test_rating_after_a_restart(memory: Memory, open_memory: Any) -> None:
    answer = answer_of(memory)
    memory.close()
    again = open_memory(config=SLOW)
    again.feedback("a1", Feedback(rating=5))
    assert weights(again)[answer, 2, "Cites"][0] == pytest.approx(0.6 + 0.1 * 0.4)


def test_rating_after_a_source_was_replaced(memory: Memory) -> None:
    answer = answer_of(memory)
    memory.add([{"text": "another text altogether", "source": "b"}])
    memory.feedback("a1", Feedback(rating=5))
    assert weights(memory)[answer, 1, "Derived"][0] > 0.4
    assert memory.interaction("a1").feedback == Feedback(rating=5)
    assert memory.check().ok


@pytest.mark.parametrize("said", [Feedback(rating=5), Feedback(correction="c is right", marks={1: False})])
def test_feedback_after_a_source_was_archived(memory: Memory, said: Feedback) -> None:
    assert memory.run_archival(max_age_days=0.0, min_use_count=1000).archived
    memory.feedback("a1", said)
    assert memory.interaction("a1").feedback == said
    memory.rehydrate([1, 2, 3])
    assert memory.check().ok


def test_feedback_after_every_source_was_forgotten(memory: Memory) -> None:
    for name in "abc":
        memory.forget(name)
    memory.feedback("a1", Feedback(rating=1, correction="it was never so"))
    assert memory.interaction("a1").answer is None
    assert memory.search("it was never so", 1)[0].node.text == "it was never so"
    assert memory.check().ok


def test_corrected_answer_is_found_no_more_and_its_correction_is(memory: Memory) -> None:
    memory.promote(answer_of(memory))
    query = memory.interaction("a1").query or ""
    memory.feedback("a1", Feedback(correction="An index is a structure for finding."))
    found = [hit.node for session in (None, "alice") for hit in memory.search(query, session=session)]
    assert answer_of(memory) not in {node.id for node in found}
    assert found[0].text == "An index is a structure for finding."


def test_attribution_credits_feedback_given_much_later(memory: Memory) -> None:
    answer = answer_of(memory)
    decided = {node: credit for node, credit in memory._store.rows("SELECT node, credit FROM credits")}
    memory.feedback("a1", Feedback(quality=1.0))
    moved_by = {node: weights(memory)[answer, node, "Derived"][0] for node in decided}
    for node, credit in decided.items():
        old = 0.6 if node == 2 else 0.4
        assert moved_by[node] == pytest.approx(old + 0.1 * credit * (1.0 - old))
