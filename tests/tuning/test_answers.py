"""What an answer is worth."""

from __future__ import annotations

import pytest
from inference.fakes import EchoEngine

from ruvllm.tuning.validation.answers import Answer, answer, f1, is_refusal, is_right, is_well_formed
from ruvllm.tuning.validation.holdout import HoldoutItem
from ruvllm.types import GenerationOptions, Message

ASKED = (Message("user", "Who wrote the first program?"),)
OPEN = HoldoutItem("a", ASKED, ("Ada Lovelace", "Lovelace"))
CHOICE = HoldoutItem("b", ASKED, ("card_declined",), ("card", "card declined", "card_declined", "loan"))
NONE = HoldoutItem("c", ASKED, ("I don't know.",))


@pytest.mark.parametrize(
    ("item", "text", "is_it"),
    [
        (OPEN, "Ada Lovelace.", True),
        (OPEN, "the lovelace", True),
        (OPEN, "Ada", False),
        (CHOICE, "Card_Declined.", True),
        (CHOICE, "it is card_declined", True),
        (CHOICE, "card_declined or loan", False),
        (CHOICE, "", False),
        (NONE, "I'm sorry, the text does not say.", True),
        (NONE, "Ada", False),
    ],
)
def test_right_answers_are_told_from_wrong_ones(item: HoldoutItem, text: str, is_it: bool) -> None:
    assert is_right(item, text) == is_it


def test_one_letter_is_a_choice_though_it_is_an_article() -> None:
    letters = HoldoutItem("d", ASKED, ("A",), ("A", "B"))
    assert is_right(letters, "A.") and not is_right(letters, "B")


@pytest.mark.parametrize("text", ["The answer is A.", "(A)", "Answer: A"])
def test_letter_that_is_an_article_is_found_in_a_sentence(text: str) -> None:
    first, second = (HoldoutItem("d", ASKED, (one,), ("A", "B", "C")) for one in "AB")
    assert is_right(first, text) and is_well_formed(first, Answer(text, 1.0)) and not is_right(second, text)


def test_two_letters_are_no_choice_though_one_is_an_article() -> None:
    assert not is_right(HoldoutItem("d", ASKED, ("B",), ("A", "B")), "A or B")


@pytest.mark.parametrize("wanted", ["A", "+", "..."])
def test_answer_without_words_is_not_met_by_silence_or_by_another_mark(wanted: str) -> None:
    item = HoldoutItem("d", ASKED, (wanted,))
    assert is_right(item, f" {wanted}") and f1(item, wanted) == 1.0
    assert not any(is_right(item, text) or f1(item, text) for text in ("", "-", "the"))


def test_f1_is_that_of_the_nearest_answer() -> None:
    assert f1(OPEN, "Lovelace") == 1.0 and 0.0 < f1(OPEN, "Ada Byron") < 1.0


@pytest.mark.parametrize("text", ["I don’t know.", "I'm sorry, but I can't help.", "As an AI,", "It is not stated."])
def test_refusals_are_seen(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["Paris", "She said that she did not know him.", "word " * 100 + "I don't know"])
def test_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize(
    ("item", "given", "is_it"),
    [
        (OPEN, Answer("Ada Lovelace", 1.0), True),
        (OPEN, Answer("Ada Lovelace", 1.0, is_whole=False), False),
        (OPEN, Answer("  ", 1.0), False),
        (OPEN, Answer("so it is so it is so it is so it is", 1.0), False),
        (CHOICE, Answer("loan", 1.0), True),
        (CHOICE, Answer("maybe", 1.0), False),
        (CHOICE, Answer("loan, card_declined", 1.0), False),
    ],
)
def test_form_is_told(item: HoldoutItem, given: Answer, is_it: bool) -> None:
    assert is_well_formed(item, given) == is_it


def test_an_engine_is_asked_and_its_failures_are_empty_answers() -> None:
    engine, options = EchoEngine(), GenerationOptions(max_new_tokens=8)
    said = answer(engine, OPEN, options)
    assert said.text.strip() == ASKED[0].content and said.is_whole and said.latency_ms > 0.0
    engine.close()
    assert answer(engine, OPEN, options).has_failed
    assert answer(EchoEngine(context_tokens=4), OPEN, options).has_failed
