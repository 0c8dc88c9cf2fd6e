"""ruvllm/text/dates.py: days, months and years that a text names."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ruvllm.text.dates import UNDATED, Period, day_of, periods_in


@pytest.mark.parametrize(
    ("text", "periods"),
    [
        ("Who came on May 3rd, 2023?", [Period(2023, 5, 3)]),
        ("What was it in Sept. 2023?", [Period(2023, 9)]),
        ("When did she camp in June?", [Period(month=6)]),
        ("what happened on the 2nd of july", [Period(month=7, day=2)]),
        ("Between 2023-05-03 and 8 June 2024, or in 2021", [Period(2023, 5, 3), Period(2024, 6, 8), Period(2021)]),
        ("What may they march for, 10 of them?", []),
        ("Flight 2023 to Augusta", []),
    ],
)
def test_what_a_question_names(text: str, periods: list[Period]) -> None:
    assert periods_in(text) == periods


@pytest.mark.parametrize("text", ["1:56 pm on 8 May, 2023", "2023-05-08T13:56:00Z", "Monday, May 8, 2023"])
def test_the_day_of_a_date(text: str) -> None:
    assert day_of(text) == date(2023, 5, 8).toordinal()


@pytest.mark.parametrize("text", ["", "yesterday", "May 2023", "31 February 2023", "2023-99-99"])
def test_what_is_no_day(text: str) -> None:
    assert day_of(text) == UNDATED


@pytest.mark.parametrize(
    ("period", "included"),
    [
        (Period(2023, 5, 31), [False, True, False, False]),
        (Period(2023, 5), [True, True, False, False]),
        (Period(month=5), [True, True, False, True]),
        (Period(2023), [True, True, True, False]),
    ],
)
def test_days_of_a_period(period: Period, included: list[bool]) -> None:
    days = np.array([date(*d).toordinal() for d in [(2023, 5, 1), (2023, 5, 31), (2023, 6, 7), (2024, 5, 9)]], np.int32)
    assert period.includes(days).tolist() == included


def test_days_soon_after_a_period_may_count_and_those_without_a_date_never() -> None:
    days = np.array([date(2023, 6, 7).toordinal(), date(2023, 6, 8).toordinal(), UNDATED], np.int32)
    assert Period(2023, 5).includes(days, days_after=7).tolist() == [True, False, False]
    assert not Period(month=12).includes(days[2:], days_after=31).any()


@pytest.mark.parametrize("text", ["1 \u017fept. 1790", "in \u017fep 2023", "\u0663 May 2020"])
def test_letters_and_digits_of_other_scripts_are_no_error(text: str) -> None:
    assert day_of(text) == UNDATED
