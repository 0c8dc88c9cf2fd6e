"""Labels are cut where a reader sees no harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ruvllm.viz.svg import clipped, text_width


@given(st.text(), st.floats(20.0, 300.0))
def test_a_cut_text_fits(text: str, width: float) -> None:
    assert text_width(clipped(text, width)) <= width


def test_what_fits_stays_whole() -> None:
    assert clipped("a short  label\n", 200.0) == "a short label"


def test_accents_stay_with_their_letters() -> None:
    assert clipped("e\u0301" * 20, text_width("eee…")) == "e\u0301" * 3 + "…"


def test_joined_emoji_are_not_taken_apart() -> None:
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
    assert clipped(family * 9, text_width(family * 2 + "…")) == family * 2 + "…"
    assert clipped(family * 9, text_width(family) + text_width("…") + 14.0) == family + "…"


def test_marks_that_turn_the_text_around_are_left_out() -> None:
    assert clipped("a\u202eb", 100.0) == "ab"
