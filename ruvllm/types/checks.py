"""What a number or a name in a record has to be."""

from __future__ import annotations

import sys

__all__ = ["is_number", "require_name", "require_share"]


def is_number(value: object) -> bool:
    """Return whether a value is a number that a float can be; NaN, infinities, True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def require_share(value: object, name: str) -> None:
    """Raise ValueError, which begins with `name`, unless a value is in [0, 1]."""
    if not (is_number(value) and 0.0 <= value <= 1.0):  # type: ignore[operator]
        raise ValueError(f"{name} must be in [0, 1] ({value!r})")


def require_name(value: object, name: str) -> None:
    """Raise ValueError, which begins with `name`, unless a value is a text that names something."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a name that is not empty ({value!r})")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name} holds a lone surrogate ({value!r})")
