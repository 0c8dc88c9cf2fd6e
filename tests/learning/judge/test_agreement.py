"""How far answers to one question agree."""

from __future__ import annotations

import pytest

from ruvllm.learning.judge import agreement_of

WORKED = "She buys three boxes of four eggs each, so that she has three times four eggs in all, which makes "


def test_the_same_words_agree_and_others_do_not() -> None:
    assert agreement_of("in hut three", ["In hut three."]) == 1.0
    assert agreement_of("in hut three", ["on Fridays"]) == 0.0


def test_worked_answers_agree_by_their_result() -> None:
    assert agreement_of(WORKED + "12", [WORKED + "13", WORKED.replace("buys", "takes") + "12"]) == 0.5


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must not be empty"):
        agreement_of("yes", [])
