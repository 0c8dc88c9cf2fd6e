"""ruvllm/memory/probation.py: who can make a written-back answer everybody's."""

from __future__ import annotations

import pytest

from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import interaction


def rate(memory: Memory, id: str, quality: float, rater: str = "local", **fields: object) -> int:
    """Record an answer, rate it by somebody, and return its node."""
    memory.record(interaction(id, **fields))
    memory.feedback(id, Feedback(quality=quality, rater=rater))
    return memory.interaction(id).answer_node or 0


def answers(memory: Memory) -> list[int]:
    """What a stranger finds."""
    return [hit.node.id for hit in memory.search("what is an index, a structure for search")]


def test_good_outcomes_of_two_sessions_promote_an_answer(memory: Memory) -> None:
    rate(memory, "a1", 1.0, session="alice")
    assert answers(memory) == []
    second = rate(memory, "a2", 1.0, session="bob")
    assert answers(memory) == [second]
    node = memory.get(second)
    assert (node.on_probation, node.trust, node.metadata["question"]) == (False, 0.7, "What is an index?")
    assert memory.check().ok


@pytest.mark.parametrize(("rater", "sessions"), [("local", "aa"), ("key1", "ab")])
def test_one_rater_alone_promotes_nothing(memory: Memory, rater: str, sessions: str) -> None:
    for i, session in enumerate(sessions):
        rate(memory, f"a{i}", 1.0, rater, session=session)
    assert answers(memory) == []


def test_who_asks_again_and_again_has_one_copy_found_by_all(memory: Memory) -> None:
    rate(memory, "a0", 1.0, "bob", session="bob")
    first, *copies = [rate(memory, f"a{i}", 1.0, "alice", session=f"s{i}") for i in range(1, 5)]
    assert answers(memory) == [first] and all(memory.get(copy).on_probation for copy in copies)
    memory.feedback("a0", Feedback(quality=0.0, rater="bob"))
    assert answers(memory) == []


def test_promotion_is_taken_back_with_the_rating_that_made_it(memory: Memory) -> None:
    rate(memory, "a1", 1.0, session="alice")
    node = rate(memory, "a2", 1.0, session="bob")
    memory.feedback("a2", Feedback(quality=0.0))
    assert answers(memory) == [] and memory.get(node).on_probation
    assert memory.get(node).trust == pytest.approx(0.15)


def test_promotion_is_taken_back_with_the_rating_of_another_s_answer_that_made_it(memory: Memory) -> None:
    rate(memory, "a1", 1.0, session="alice")
    node = rate(memory, "a2", 1.0, session="bob")
    memory.feedback("a1", Feedback(quality=0.0))
    assert answers(memory) == [] and memory.get(node).on_probation


def test_who_calls_the_same_answer_bad_speaks_against_the_one_that_was_promoted(memory: Memory) -> None:
    rate(memory, "a0", 1.0, session="alice")
    node = rate(memory, "a1", 1.0, session="bob")
    rate(memory, "a2", 0.0, session="carol")
    assert answers(memory) == [node] and memory.get(node).trust == pytest.approx(0.35)
    for i, session in enumerate(("dave", "erin"), start=3):
        rate(memory, f"a{i}", 0.0, session=session)
    assert answers(memory) == [] and memory.get(node).on_probation
    assert memory.check().ok


def test_what_the_user_promoted_stays_whoever_calls_the_same_answer_bad(memory: Memory) -> None:
    node = rate(memory, "a0", 1.0, session="alice")
    memory.promote(node)
    for i, session in enumerate(("bob", "carol"), start=1):
        rate(memory, f"a{i}", 0.0, session=session)
    assert answers(memory) == [node] and memory.get(node).trust == 0.7


def test_of_an_answer_that_many_were_given_and_called_good_one_is_searched(memory: Memory) -> None:
    first, second, *others = (rate(memory, f"a{i}", 1.0, f"user{i}", session=f"s{i}") for i in range(6))
    assert answers(memory) == [second]
    memory.revoke(second)
    rate(memory, "a6", 1.0, "user6", session="s6")
    assert answers(memory) == []
    assert all(memory.get(node).on_probation for node in (first, *others))
    memory.promote(first)
    assert answers(memory) == [first]
    assert memory.check().ok


def test_another_is_searched_where_the_one_that_was_lost_its_word(memory: Memory) -> None:
    rate(memory, "a0", 1.0, session="s0")
    promoted = rate(memory, "a1", 1.0, session="s1")
    memory.feedback("a0", Feedback(quality=0.0))
    assert answers(memory) == [] and memory.get(promoted).on_probation
    other = rate(memory, "a2", 1.0, session="s2")
    assert answers(memory) == [other] and memory.get(promoted).on_probation


def test_bad_outcomes_of_two_sessions_end_an_answer(memory: Memory) -> None:
    rate(memory, "a1", 0.0, session="alice")
    node = rate(memory, "a2", 0.0, session="bob")
    assert memory.search("a structure for search", session="bob") == []
    assert memory.get(node).trust == 0.0


@pytest.mark.parametrize(("said", "is_found"), [(1.0, True), (0.0, False)])
def test_a_good_word_outweighs_the_judge_that_hid_an_answer(memory: Memory, said: float, is_found: bool) -> None:
    memory.record(interaction("a1", session="alice", quality=0.1, quality_source="signals@1"))
    assert memory.search("a structure for search", session="alice") == []
    memory.feedback("a1", Feedback(quality=said))
    assert bool(memory.search("a structure for search", session="alice")) == is_found


def test_the_user_has_the_last_word(memory: Memory) -> None:
    node = rate(memory, "a1", 1.0)
    memory.promote(node)
    assert answers(memory) == [node]
    memory.revoke(node)
    rate(memory, "a2", 1.0, session="bob")
    assert node not in answers(memory)
    with pytest.raises(ValueError, match="node_id: there is no answer 99"):
        memory.promote(99)


def test_nothing_crosses_namespaces(memory: Memory) -> None:
    rate(memory, "a1", 1.0, session="alice")
    memory.record(interaction("a2", session="bob", namespace="other"))
    memory.flush()
    memory._store.write(lambda c: c.execute(
        "INSERT INTO feedback (interaction, rating, updated) VALUES ('a2', 5, 0.0)").get)  # fmt: skip
    memory.feedback("a1", Feedback(rating=5))
    assert answers(memory) == []
