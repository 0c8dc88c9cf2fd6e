"""The stop filter against a plain twin."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.inference.stops import StopFilter

ALPHABET = "abc\n"
texts = st.text(ALPHABET, max_size=30)
stop_lists = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4)


def plain_cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """Read character by character until a stop is complete; cut the longest one that ends there."""
    for end in range(1, len(text) + 1):
        complete = [s for s in stops if text[:end].endswith(s)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


@given(texts, stop_lists, st.lists(st.integers(0, 30), max_size=8))
def test_any_split_gives_what_the_twin_gives(text: str, stops: list[str], cuts: list[int]) -> None:
    filter = StopFilter(stops)
    edges = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    shown = "".join(filter.push(text[a:b]) for a, b in itertools.pairwise(edges)) + filter.flush()
    assert (shown, filter.stopped) == plain_cut(text, stops)


@given(texts, stop_lists)
def test_nothing_shown_is_ever_taken_back(text: str, stops: list[str]) -> None:
    filter, shown, wanted = StopFilter(stops), "", plain_cut(text, stops)[0]
    for character in text:
        shown += filter.push(character)
        assert wanted.startswith(shown)


def test_only_a_possible_beginning_is_held_back() -> None:
    filter = StopFilter(["\nUser:"])
    assert filter.push("Hello\nUs") == "Hello"
    assert filter.push("A") == "\nUsA"


def test_after_a_stop_nothing_more_comes() -> None:
    filter = StopFilter(["."])
    assert filter.push("One. Two") == "One"
    assert filter.push("Three") + filter.flush() == ""


def test_without_stops_text_passes_at_once() -> None:
    assert StopFilter([]).push("abc") == "abc"


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(ValueError, match="stops"):
        StopFilter(["a", ""])
