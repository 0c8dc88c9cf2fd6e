"""Rated answers as a judge's calibration reads them."""

from __future__ import annotations

import pytest

from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import interaction

JUDGE = "signals/1"


@pytest.fixture
def rated(memory: Memory) -> Memory:
    for id, source in (
        ("a1", JUDGE),
        ("a2", JUDGE),
        ("a3", f"{JUDGE}@2"),
        ("a4", "signals/10"),
        ("a5", f"{JUDGE}+llm"),
    ):
        memory.record(interaction(id, answer=f"answer {id}", session=id, quality_source=source, judge_score=0.75))
    for id in ("a1", "a4", "a5"):
        memory.feedback(id, Feedback(rating=5))
    memory.feedback("a3", Feedback(quality=0.25))
    return memory


def test_what_the_judge_scored_and_people_rated_comes_oldest_first(rated: Memory) -> None:
    assert [(one.id, one.score, one.quality) for one in rated.rated_answers(JUDGE)] == [
        ("a1", 0.75, 1.0),
        ("a3", 0.75, 0.25),
    ]


def test_another_judge_has_scores_of_its_own(rated: Memory) -> None:
    assert [one.id for one in rated.rated_answers(f"{JUDGE}+llm")] == ["a5"]


def test_the_limit_keeps_the_newest(rated: Memory) -> None:
    assert [one.id for one in rated.rated_answers(JUDGE, 1)] == ["a3"]


def test_contradicting_words_are_left_out(rated: Memory) -> None:
    rated.feedback("a3", Feedback(quality=0.25, task_success=True))
    assert [one.id for one in rated.rated_answers(JUDGE)] == ["a1"]


def test_what_nobody_scored_is_left_out(rated: Memory) -> None:
    rated.record(interaction("a6", session="a6"))
    rated.feedback("a6", Feedback(rating=1))
    assert "a6" not in [one.id for one in rated.rated_answers(JUDGE)]


def test_what_everybody_asks_is_a_part_of_what_is_read(memory: Memory) -> None:
    for number, question in enumerate(["rare", "common", "common", "rare", *["common"] * 40]):
        id = f"a{number:02}"
        memory.record(interaction(id, query=question, session=id, quality_source=JUDGE, judge_score=0.75))
        memory.feedback(id, Feedback(rating=5))
    assert [one.id for one in memory.rated_answers(JUDGE, 40)] == ["a00", "a03", "a42", "a43"]
