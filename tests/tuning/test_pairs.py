"""Preference pairs and retrieval corrections."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.tuning import Passage, PreferencePair
from ruvllm.tuning.pairs import preference_pairs, retrieval_corrections
from ruvllm.tuning.trace import Alternative, Trace

from .fakes import bad, trace

GOOD, BAD = Alternative("", "Detailed answer...", 0.9), Alternative("", "I don't know", 0.3)


def pairs_of(*traces: Trace) -> tuple[PreferencePair, ...]:
    teaches = [one.id for one in traces if one.standing != "probation"]
    return preference_pairs(traces, teaches, margin=0.2, rng=np.random.default_rng(0))


def test_preference_pairs_correctly_ordered() -> None:
    pair = PreferencePair.from_responses("Explain backpropagation", GOOD, BAD)
    assert (pair.chosen, pair.rejected) == (GOOD.text, BAD.text)
    assert pair.gap == pytest.approx(0.6)


def test_the_better_answer_is_chosen_in_whichever_order_they_come() -> None:
    assert PreferencePair.from_responses("q", BAD, GOOD) == PreferencePair.from_responses("q", GOOD, BAD)


def test_answers_of_nearly_the_same_quality_are_no_pair() -> None:
    with pytest.raises(ValueError, match=r"margin 0\.7"):
        PreferencePair.from_responses("q", GOOD, BAD, margin=0.7)


def test_the_same_words_are_no_pair() -> None:
    with pytest.raises(ValueError, match="the same"):
        PreferencePair.from_responses("q", GOOD, Alternative("", "detailed answer", 0.1))


def test_answers_to_the_same_question_are_paired() -> None:
    (pair,) = pairs_of(
        trace("a", query="Which day?", response="Friday"), bad("b", query="which day", response="Monday")
    )
    assert (pair.prompt[-1].content, pair.chosen, pair.rejected, pair.trace) == ("Which day?", "Friday", "Monday", "a")


def test_what_nobody_confirmed_is_never_chosen() -> None:
    good = trace("a", query="Which day?", response="Friday", standing="probation")
    assert pairs_of(good, bad("b", query="Which day?", response="Monday")) == ()


def test_a_correction_is_preferred_to_what_it_corrects() -> None:
    (pair,) = pairs_of(bad("a", response="Monday", correction="Friday", standing="corrected"))
    assert (pair.chosen, pair.rejected) == ("Friday", "Monday")


def test_a_rating_that_praises_what_was_corrected_makes_no_pair() -> None:
    assert pairs_of(trace("a", correction="Friday", standing="corrected")) == ()


def test_what_another_model_said_worse_is_rejected() -> None:
    (pair,) = pairs_of(trace("a", response="Friday", alternatives=(Alternative("small", "Bread", 0.1),)))
    assert (pair.chosen, pair.rejected) == ("Friday", "Bread")


def test_the_chosen_answer_stands_first_in_half_of_the_pairs() -> None:
    many = [bad(f"a{i}", correction=f"right {i}", standing="corrected") for i in range(101)]
    first = sum(pair.chosen_first for pair in pairs_of(*many))
    assert first in (50, 51)


def test_only_good_answers_make_no_pair() -> None:
    assert pairs_of(trace("a", query="Which day?"), trace("b", query="Which day?")) == ()


def test_retrieval_is_corrected_where_both_sides_are_known() -> None:
    helpful, misleading = (Passage(1, "Bread is baked on Fridays."),), (Passage(2, "Terns nest on cliffs."),)
    known = trace("a", query="Which day?", helped=helpful, misled=misleading)
    (found,) = retrieval_corrections([known, trace("b", helped=helpful), trace("c", misled=misleading)])
    assert (found.query, found.helpful, found.misleading, found.trace) == ("Which day?", helpful, misleading, "a")
