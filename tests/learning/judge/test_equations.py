"""Sums that answers write down."""

from __future__ import annotations

import time

import pytest

from ruvllm.learning.judge.equations import equations


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("3 x 4 = 12", 1, 0),
        ("so 3*4=<<3*4=13>>13", 0, 1),
        ("$1,200 + $300 = $1,500", 1, 0),
        ("2 + 3 * 4 = 14, and 10 / 4 = 2.5", 2, 0),
        ("20% * 50 = 10", 1, 0),
        ("1 / 3 = 0.33", 1, 0),
        ("5 / 0 = 7", 0, 0),
        ("x = 5", 0, 0),
        ("", 0, 0),
    ],
)
def test_equations_are_worked_out_again(text: str, right: int, wrong: int) -> None:
    assert equations(text) == (right, wrong)


def test_endless_digits_take_no_time() -> None:
    started = time.perf_counter()
    equations("0." + "3" * 4000 + " 1" * 2000)
    assert time.perf_counter() - started < 5.0
