"""What every section of the configuration is made of."""

from __future__ import annotations

import msgspec

__all__ = ["MAX_WAIT_S", "Section", "require"]

MAX_WAIT_S = 1e6  # twelve days: threads and sockets answer a much longer wait with an OverflowError


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields with defaults; an unknown one is an error."""


def require(statement: bool, message: str) -> None:
    """Raise a ValueError with `message` if `statement` does not hold."""
    if not statement:
        raise ValueError(message)
