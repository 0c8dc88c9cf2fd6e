"""Rated answers as a judge's calibration reads them."""

from __future__ import annotations

import math

import pytest

from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import interaction


@pytest.fixture
def rated(memory: Memory) -> Memory:
    memory.add([{"text": "first source", "source": "a", "title": "T"}, {"text": "second source", "source": "b"}])
    for id in ("a1", "a2", "a3"):
        memory.record(interaction(id, answer=f"answer {id}", session=id, source_ids=(2, 1), confidence=0.5))
    memory.feedback("a1", Feedback(rating=5))
    memory.feedback("a3", Feedback(quality=0.25))
    return memory


def test_rated_answers_come_oldest_first_with_their_sources_in_order(rated: Memory) -> None:
    first, second = rated.rated_answers()
    assert (first.id, first.answer, first.quality) == ("a1", "answer a1", 1.0)
    assert (second.id, second.quality, second.logprobs) == ("a3", 0.25, (math.log(0.5),))
    assert first.sources == (("", "second source"), ("T", "first source"))


def test_the_limit_keeps_the_newest(rated: Memory) -> None:
    assert [one.id for one in rated.rated_answers(1)] == ["a3"]


def test_contradicting_words_and_forgotten_sources_are_left_out(rated: Memory) -> None:
    rated.feedback("a3", Feedback(quality=0.25, task_success=True))
    assert [one.id for one in rated.rated_answers()] == ["a1"]
    rated.forget("b")
    assert rated.rated_answers() == []
