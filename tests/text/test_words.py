"""Words against a plain Python twin over all of Unicode, and against the rules SQuAD's script has."""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.text import STOP_WORDS, _text, containment, containments, normalized_tokens, token_f1

TEXTS = st.text(st.characters(), max_size=60)  # astral characters and lone surrogates too
WORDS = ["the", "A", "an", "cat", "Cat.", "sat", "the-mat", "ÉTÉ", "été", "İ", "—", "𝒳y", "is"]
WORDY = st.lists(st.sampled_from(WORDS)).map(" ".join)


def is_punctuation(c: str) -> bool:
    return c in string.punctuation or unicodedata.category(c).startswith("P")


def twin_tokens(text: str) -> list[str]:
    kept = "".join(c for c in text.lower() if not is_punctuation(c))
    return [word for word in kept.split() if word not in {"a", "an", "the"}]


def twin_f1(prediction: str, gold: str) -> float:
    a, b = Counter(twin_tokens(prediction)), Counter(twin_tokens(gold))
    if not a or not b:
        return float(a == b)
    common = (a & b).total()
    precision, recall = common / a.total(), common / b.total()
    return 2 * precision * recall / (precision + recall) if common else 0.0


def twin_containment(part: str, whole: str) -> float:
    content = [word for word in twin_tokens(part) if word not in STOP_WORDS]
    known = set(twin_tokens(whole))
    return sum(word in known for word in content) / len(content) if content else 0.0


def squad_tokens(text: str) -> list[str]:
    """The published script's steps: lower, punctuation, articles, white space."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


@given(TEXTS | WORDY)
def test_tokens_equal_their_twin(text: str) -> None:
    assert normalized_tokens(text) == twin_tokens(text)


@given(st.text(st.sampled_from(string.ascii_letters + string.digits + string.punctuation + " \t\n")) | WORDY)
def test_ascii_tokens_equal_squads(text: str) -> None:
    ascii_only = text.encode("ascii", "ignore").decode()
    assert normalized_tokens(ascii_only) == squad_tokens(ascii_only)


def test_every_character_is_kept_or_dropped_as_unicode_says() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    assert _text.drop_punctuation("".join(characters)) == "".join(c for c in characters if not is_punctuation(c))


@given(TEXTS | WORDY, TEXTS | WORDY)
def test_f1_equals_its_twin(prediction: str, gold: str) -> None:
    assert token_f1(prediction, gold) == pytest.approx(twin_f1(prediction, gold), abs=1e-12)


@given(TEXTS | WORDY, TEXTS | WORDY)
def test_containment_equals_its_twin(part: str, whole: str) -> None:
    assert containment(part, whole) == pytest.approx(twin_containment(part, whole), abs=1e-12)


@given(TEXTS | WORDY, st.lists(TEXTS | WORDY, max_size=4))
def test_one_text_is_contained_in_several_as_in_each(part: str, wholes: list[str]) -> None:
    assert containments(part, wholes) == [containment(part, whole) for whole in wholes]


@pytest.mark.parametrize(
    ("prediction", "gold", "f1"),
    [
        ("The Eiffel Tower.", "eiffel tower", 1.0),
        ("in Paris, France", "Paris", 0.5),
        ("cat cat", "cat", 2 / 3),
        ("", "the", 1.0),
        ("", "cat", 0.0),
        ("dog", "cat", 0.0),
    ],
)
def test_f1_counts_shared_words(prediction: str, gold: str, f1: float) -> None:
    assert token_f1(prediction, gold) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("part", "whole", "share"),
    [
        ("The tower is 330 metres tall.", "It is 330 metres tall, the Eiffel Tower", 1.0),
        ("The tower is green.", "the tower", 0.5),
        ("It is what it is.", "It is what it is.", 0.0),
        ("paris paris london", "Paris", 2 / 3),
    ],
)
def test_containment_counts_content_words(part: str, whole: str, share: float) -> None:
    assert containment(part, whole) == pytest.approx(share)


def test_stop_words_are_normalized_english() -> None:
    assert {"the", "is", "of"} <= STOP_WORDS
    assert all(word == word.lower() and word.isalpha() for word in STOP_WORDS)


@pytest.mark.parametrize("wrong", [None, b"bytes", 3])
def test_what_is_not_text_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError):
        token_f1(wrong, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        containment("x", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        containments("x", ["y", wrong])  # type: ignore[list-item]
