"""Changes that fail half way: what memory derives from the database is whole, or thrown away and derived again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["whole_or_thrown_away"]


@contextmanager
def whole_or_thrown_away(lock: AbstractContextManager[object], throw_away: Callable[[], None]) -> Iterator[None]:
    """Hold the lock during a change; what a failure or Ctrl-C leaves half done is thrown away."""
    with lock:
        try:
            yield
        except BaseException:
            throw_away()
            raise
