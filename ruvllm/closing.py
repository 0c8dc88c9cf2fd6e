"""What can be closed is closed at the end of a with block."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Closes"]


class Closes:
    """A base of classes with a `close` that may be called twice."""

    def close(self) -> None:
        """Let go of what is held."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
