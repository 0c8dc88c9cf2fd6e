"""Labels are cut where a reader sees no harm."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.viz import CurvePoint, curve_svg, stacked
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


def test_pictures_are_stacked_below_each_other() -> None:
    one = curve_svg([CurvePoint("a", 0.0, 1.0), CurvePoint("a", 1.0, 2.0)], title="<t>")
    root = ET.fromstring(stacked([one, one]))
    assert [inner.get("y") for inner in root] == ["0", "400"] and root.get("height") == "800"


def test_what_is_no_picture_is_not_stacked() -> None:
    with pytest.raises(ValueError, match="svgs must state"):
        stacked(["<svg/>"])
