"""ruvllm/memory/corrections.py: of what many said to one question a few that differ are searched."""

from __future__ import annotations

from ruvllm.memory import Memory
from ruvllm.memory.corrections import MOST
from ruvllm.types import Feedback

from .fakes import interaction

QUESTION = "When does the harbour open?"


def correct(memory: Memory, *corrections: str, question: str = QUESTION, is_private: bool = False) -> list[str]:
    """Correct a new answer for each; return their ids."""
    first = memory.stats().interactions
    ids = [f"i{first + number}" for number in range(len(corrections))]
    for id, correction in zip(ids, corrections, strict=True):
        memory.record(interaction(id, query=question, session=id, is_private=is_private))
        memory.feedback(id, Feedback(correction=correction, rater=id))
    return ids


def found(memory: Memory, k: int = 20) -> list[str]:
    return sorted(hit.node.text for hit in memory.search(QUESTION, k=k))


def is_sound(memory: Memory) -> bool:
    return not memory.check().findings


def test_a_correction_that_many_make_is_searched_once(memory: Memory) -> None:
    memory.add(["The harbour opens in spring.", "The harbour has two cranes."])
    correct(memory, *["It opens at eight."] * 60)
    assert found(memory) == ["It opens at eight.", "The harbour has two cranes.", "The harbour opens in spring."]
    assert is_sound(memory)


def test_of_corrections_that_contradict_each_other_the_newest_are_searched(memory: Memory) -> None:
    memory.add(["The harbour has two cranes."])
    correct(memory, *(f"It opens at {hour}." for hour in range(20)))
    newest = [f"It opens at {hour}." for hour in range(20 - MOST, 20)]
    assert found(memory) == sorted([*newest, "The harbour has two cranes."])
    assert is_sound(memory)


def test_the_same_words_to_another_question_are_searched_beside_it(memory: Memory) -> None:
    correct(memory, "At eight.")
    correct(memory, "At eight.", question="When does the harbour close?")
    correct(memory, "At eight.", is_private=True)
    assert found(memory) == ["At eight."] * 3


def test_a_copy_is_searched_when_the_one_that_was_is_forgotten(memory: Memory) -> None:
    *_, last = correct(memory, "At seven.", "At eight.", "At eight!")
    assert found(memory) == ["At eight!", "At seven."]
    memory.forget(f"feedback:{last}")
    assert found(memory) == ["At eight.", "At seven."]
    assert is_sound(memory)


def test_an_older_one_is_searched_again_when_a_newer_one_is_replaced(memory: Memory) -> None:
    ids = correct(memory, *(f"It opens at {hour}." for hour in range(MOST + 1)))
    memory.feedback(ids[-1], Feedback(correction="It opens at 1."))
    assert found(memory) == [f"It opens at {hour}." for hour in range(MOST)]
    assert is_sound(memory)


def test_correcting_and_forgetting_again_and_again_leaves_nothing(memory: Memory) -> None:
    (id,) = correct(memory, "It opens at seven.")
    for _ in range(20):
        memory.forget(f"feedback:{id}")
        memory.feedback(id, Feedback(correction="It opens at eight."))
    assert found(memory) == ["It opens at eight."]
    assert memory._store.value("SELECT count(*) FROM nodes WHERE source = ?", (f"feedback:{id}",)) == 1
    assert is_sound(memory)
