"""ruvllm/orchestrator/same_question.py: near in meaning is not enough for the same answer."""

from __future__ import annotations

import pytest

from ruvllm.orchestrator.same_question import ask_the_same

SAME = [
    ("Who founded Tern Point Station?", "Who established Tern Point Station?"),
    ("When does the supply ship come?", "When does the supply ship come to the harbour?"),
    ("What isn't allowed on the ice?", "What is not permitted on the ice?"),
    ("Where is the rescue sled kept?", "Where is the rescue sled stored?"),
    ("How many beds are in hut 3?", "How many beds does hut 3 have? ".replace("does", "are")),
    ("When does the ship for Tern Point leave Gull Bay?", "The ship for Tern Point, when does it leave Gull Bay?"),
]

DIFFERENT = [
    ("How many beds are in hut 3?", "How many beds are in hut 4?"),
    ("How many beds are in hut three?", "How many beds are in hut four?"),
    ("What happened in 1,892?", "What happened in 1,893?"),
    ("Is it 3 from 5?", "Is it 5 from 3?"),
    ("Is it warmer than -5 degrees?", "Is it warmer than 5 degrees?"),
    ("What is x > 3?", "What is x < 3?"),
    ("Is flying drones allowed?", "Is flying drones not allowed?"),
    ("Which doors can be opened?", "Which doors can't be opened?"),
    ("Tea with sugar?", "Tea without sugar?"),
    ("Who leads Tern Point?", "Who leads Gull Point?"),
    ("Everest is how high?", "Elbrus is how high?"),
    ("Who founded the station?", "When was the station founded?"),
    ("What is the first rule?", "What is the last rule?"),
    ("When does the ship arrive?", "When does the ship leave?"),
    ("Who was his mother?", "Who was his father?"),
    ("What runs on the iPhone?", "What runs on the iPad?"),
    ("What is gpt-4?", "What is gpt-5?"),
    ("谁建了北京站", "谁建了上海站"),
    ("Is Paris larger than London?", "Is London larger than Paris?"),
    ("How do I convert PDF to DOCX?", "How do I convert DOCX to PDF?"),
    ("Is a man biting a dog news?", "Is a dog biting a man news?"),
    ("Is the ship older than Anna?", "Is Anna older than the ship?"),
    ("Is the north colder than the south?", "Is the south colder than the north?"),
]


@pytest.mark.parametrize(("question", "other"), SAME)
def test_another_wording_of_the_same_question_passes(question: str, other: str) -> None:
    assert ask_the_same(question, other) and ask_the_same(other, question)


@pytest.mark.parametrize(("question", "other"), DIFFERENT)
def test_another_question_does_not(question: str, other: str) -> None:
    assert not ask_the_same(question, other) and not ask_the_same(other, question)


@pytest.mark.parametrize("text", ["", "?", "\ud800", "x" * 20_000, "1" * 20_000, "A." * 10_000])
def test_any_text_asks_the_same_as_itself(text: str) -> None:
    assert ask_the_same(text, text)
