"""What is told of an answer: from its words, its sources and its tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory.fakes import PATIENT, WordEmbedder

from ruvllm.learning.judge.signals import ANSWERABLE, GROUNDED, MAX_ANSWER_SENTENCES, MAX_SENTENCES, OPEN, signals_of

from .cases import PASSAGE, alike, answered


def signals(answer: str = "In hut three.", *texts: str, **fields: Any) -> dict[str, float]:
    return signals_of(answered(answer, *texts, **fields), WordEmbedder().encode, alike)


def test_an_answer_with_sources_has_all_signals_and_one_without_has_those_of_its_words() -> None:
    assert set(signals()) == {*GROUNDED, *OPEN, "worked"}
    assert set(signals(sources=())) == {*OPEN, "worked"}


def test_an_answer_that_its_source_says_is_better_grounded_than_an_invented_one() -> None:
    said, invented = signals("In hut three."), signals("In the blue barn.")
    for name in ("support", "overlap", "linked", "linked_words"):
        assert said[name] > invented[name], name


def test_a_sentence_elsewhere_in_the_source_is_not_linked_to_the_question() -> None:
    assert signals("In hut three.")["linked_words"] > signals("On Fridays.")["linked_words"]


def test_sources_without_the_question_s_words_cover_less_of_it() -> None:
    there, gone = signals("-", PASSAGE), signals("-", "Terns nest on the cliffs.")
    assert there["coverage"] > gone["coverage"] and there["missing"] < gone["missing"]


def test_a_rare_word_that_is_missing_weighs_more_than_a_frequent_one() -> None:
    def rarity(terms: np.ndarray) -> np.ndarray:
        return np.linspace(1.0, 9.0, len(terms))

    whole = signals_of(answered("-"), WordEmbedder().encode, rarity)
    none = signals_of(answered("-", "Terns nest."), WordEmbedder().encode, rarity)
    assert whole["coverage"] == pytest.approx(1.0) and none["missing"] == pytest.approx(9.0 / (1 + 5 + 9))


def test_names_and_numbers_of_the_answer_are_looked_up() -> None:
    assert signals("Amundsen, 1912.", "In 1912 Amundsen came.")["named"] == 1.0
    assert signals("Amundsen, 1913.", "In 1912 Amundsen came.")["named"] == 0.5


def test_repetition_sums_and_saying_nothing_are_seen() -> None:
    assert signals("the sled is the sled is the sled is the sled is")["repetition"] > 0.5
    assert signals("3 x 4 = 13")["sums_wrong"] > 0.0 == signals("3 x 4 = 12")["sums_wrong"]
    assert signals("I do not know.")["unsaid"] == signals("")["unsaid"] == 1.0


def test_the_log_probability_is_the_mean_where_the_engine_tells() -> None:
    assert signals(logprobs=(-1.0, -3.0))["logprob"] == -2.0 and "logprob" not in signals()


def test_few_sentences_are_embedded_however_long_the_sources_are() -> None:
    embedded: list[Sequence[str]] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        embedded.append(texts)
        return WordEmbedder().encode(texts)

    long = " ".join(f"Sled number {i} is kept here." for i in range(200))
    signals_of(answered(long, long, long), encode, alike)
    assert [len(texts) for texts in embedded] == [MAX_SENTENCES + MAX_ANSWER_SENTENCES + 1]


@PATIENT
@given(answer=st.text(max_size=80), text=st.text(max_size=80))
def test_signals_are_finite_whatever_the_words_are(answer: str, text: str) -> None:
    found = signals(answer, text)
    assert all(math.isfinite(value) for value in found.values())
    assert set(ANSWERABLE) <= set(found) or not text.strip()
