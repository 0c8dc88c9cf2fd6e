from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.text_traits import MAX_CHARS, TEXT_TRAITS, text_traits

NAMES = [name for name, *_ in TEXT_TRAITS]


def trait(name: str, text: str, **known: int) -> float:
    return float(text_traits(text, **known)[NAMES.index(name)])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("log_chars", "Why?", "Why is the sky blue in the afternoon?"),
        ("log_words", "Why?", "Why is the sky blue?"),
        ("log_lines", "one\n\n", "one\ntwo\nthree"),
        ("log_sentences", "One thing.", "One thing. Another thing. A third one."),
        ("word_length", "a cat sat", "electromagnetic induction"),
        ("long_words", "a cat sat", "electromagnetic induction"),
        ("distinct_words", "cat cat cat", "cat dog bird"),
        ("stop_words", "purple elephants dance", "it is what it is"),
        ("digits", "two and two", "22 and 22"),
        ("capitals", "nato and unesco", "NATO and UNESCO"),
        ("punctuation", "well yes", "well, yes..."),
        ("other_script", "Что is Moscow", "Что такое Москва"),
        ("maths", "x plus y is z", "x + y = z"),
        ("code", "call f of x", "f(x[0]);"),
        ("log_numbers", "in 1999", "from 1999 to 2001, 3 times"),
        ("log_question_marks", "Tell me.", "What? Why?"),
        ("log_quotes", "he said yes", 'he said "yes"'),
        ("has_blank", "Paris is in France", "Paris is in ____"),
        ("negation", "Which is true?", "Which is not true?"),
        ("negation", "It is so", "It isn't so"),
        ("superlative", "a cause", "the most likely cause"),
        ("condition", "the ball falls", "suppose the ball falls"),
        ("asks_which", "is it red", "which is red"),
        ("asks_quantity", "Where are the apples?", "How many apples are there?"),
        ("asks_why", "is it red", "why is it red"),
        ("asks_fact", "is it red", "who is it"),
        ("asks_yes_no", "What is it?", "A dog barks. Is it red?"),
        ("instructs", "a poem", "write a poem"),
        ("log_choices", "Pick one.", "Pick one.\nA. this\nB. that"),
        ("choice_length", "Pick.\nA. x\nB. y", "Pick.\nA. this long one\n(B) that long one"),
        ("choice_spread", "Pick.\n1. this\n2. that", "Pick.\n1. this\n2. that which is longer"),
    ],
)
def test_a_trait_grows_with_what_it_names(name: str, low: str, high: str) -> None:
    assert trait(name, low) < trait(name, high)


def test_turns_and_earlier_questions_are_traits() -> None:
    assert trait("log_turn", "Why?", turn_index=3) == pytest.approx(np.log(4.0))
    assert trait("log_user_questions", "Why?", user_questions=9) == pytest.approx(np.log(10.0))


@pytest.mark.parametrize("text", ["", " \n", "\ud800", "𝔸😀", "\x00", "?" * 9, "_" * 5000, "слово " * 3000])
def test_any_text_has_finite_traits(text: str) -> None:
    traits = text_traits(text)

    assert traits.shape == (len(TEXT_TRAITS),)
    assert traits.dtype == np.float32
    assert np.isfinite(traits).all()


def test_of_a_long_text_the_start_and_the_length_count() -> None:
    start = "Why is it so? " * (MAX_CHARS // 14 + 1)
    changed = [
        name for name, a, b in zip(NAMES, text_traits(start), text_traits(start + "X1" * 500), strict=True) if a != b
    ]

    assert changed == ["log_chars"]
