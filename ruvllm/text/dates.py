"""Days that a text names: "2023-05-08", "8 May, 2023", "May 8", "in May 2023", "in May", "in 2023"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

__all__ = ["UNDATED", "Period", "day_of", "periods_in"]

UNDATED = 0  # as a day
EPOCH = date(1970, 1, 1).toordinal()  # from which NumPy counts days

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\b", r"(?P<year>(?:19|20)\d\d)\b"
_IN = r"\b(?:in|of|during|since|until|before|after|by|from|last|this|early|mid|late)[ -]"
_ANY_YEAR = re.compile(r"\d{4}")
_FORMS = [  # the fuller first: what one has read is not read again
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"\b{_YEAR}-(?P<month>\d\d)-(?P<day>\d\d)",
        rf"\b{_DAY} (?:of )?{_MONTH}(?:,? {_YEAR})?",
        rf"\b{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"\b{_MONTH},? (?:of )?{_YEAR}",
        rf"{_IN}{_MONTH}",
        rf"{_IN}{_YEAR}",
    )
]


@dataclass(frozen=True, slots=True)
class Period:
    """A day, a month or a year; of every year where the year is None."""

    year: int | None = None
    month: int | None = None
    day: int | None = None

    def includes(self, days: npt.NDArray[np.int32], *, days_after: int = 0) -> npt.NDArray[np.bool_]:
        """Return which of `days`, (n,) as `day_of` gives them, lie in the period or at most so many days after it."""
        dates = (days[:, np.newaxis] - np.arange(days_after + 1) - EPOCH).astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        included = np.repeat(days[:, np.newaxis] != UNDATED, days_after + 1, axis=1)
        if self.year is not None:
            included &= dates.astype("datetime64[Y]").astype(np.int64) == self.year - 1970
        if self.month is not None:
            included &= months.astype(np.int64) % 12 == self.month - 1
        if self.day is not None:
            included &= (dates - months).astype(np.int64) == self.day - 1
        return np.asarray(included.any(axis=1))


def day_of(text: str) -> int:
    """Return the first day that a text names with its year, counted as `date.toordinal` does, else UNDATED."""
    for period in periods_in(text):
        if period.year is not None and period.month is not None and period.day is not None:
            try:
                return date(period.year, period.month, period.day).toordinal()
            except ValueError:  # a 31st of February
                continue
    return UNDATED


def periods_in(text: str) -> list[Period]:
    """Return the days, months and years that a text names in English or by ISO 8601, those named in full first."""
    periods: list[Period] = []
    lowered = text.lower()
    if not _ANY_YEAR.search(text) and not any(month in lowered for month in _MONTHS):  # most texts, fifty times faster
        return periods
    for form in _FORMS:
        for match in form.finditer(text):
            found = match.groupdict()
            periods.append(Period(_number(found.get("year")), _number(found.get("month")), _number(found.get("day"))))
        text = form.sub(" . ", text)
    return periods


def _number(found: str | None) -> int | None:
    if found is None or found.isdigit():
        return None if found is None else int(found)
    return _MONTHS.index(found[:3].lower()) + 1
