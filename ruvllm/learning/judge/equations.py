"""The sums that an answer writes down, done again."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["equations"]

_NUMBER = r"\$?\d[\d,]{0,15}(?:\.\d{1,15})?%?"
_EQUATION = re.compile(rf"({_NUMBER}(?:\s*[-+*/x×÷]\s*{_NUMBER}){{1,8}})\s*=\s*({_NUMBER})")
_PART = re.compile(rf"{_NUMBER}|[-+*/x×÷]")
TOLERANCE = Fraction(1, 100)  # of the value, or of 1: answers round


def equations(text: str) -> tuple[int, int]:
    """Return how many written equations like "3 x 4 = 12" hold, and how many do not."""
    right = wrong = 0
    for left, stated in _EQUATION.findall(text):
        value = _value(_PART.findall(left))
        if value is not None:
            holds = abs(value - _number(stated)) <= TOLERANCE * max(Fraction(1), abs(value))
            right, wrong = right + holds, wrong + (not holds)
    return right, wrong


def _value(parts: list[str]) -> Fraction | None:
    """Return numbers and signs in turn worked out, products first; None where it divides by 0."""
    terms = [_number(parts[0])]
    for sign, part in zip(parts[1::2], parts[2::2], strict=True):
        number = _number(part)
        if sign in "+-":
            terms.append(number if sign == "+" else -number)
        elif sign in "*x×":
            terms[-1] *= number
        elif number == 0:
            return None
        else:
            terms[-1] /= number
    return sum(terms, Fraction(0))


def _number(text: str) -> Fraction:
    value = Fraction(text.strip("$%").replace(",", ""))
    return value / 100 if text.endswith("%") else value
