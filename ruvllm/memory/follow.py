"""How what memory holds stays in step with the database: writes of other processes, and changes that fail half way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ruvllm.memory.store import Store

__all__ = ["OtherWrites", "whole_or_thrown_away"]


class OtherWrites:
    """Tells whether another process has written to the database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = threading.local()  # data_version counts for one connection, and each thread has its own

    def are_new(self) -> bool:
        """Return whether there were any since this thread last asked; True when it never did."""
        version = self._store.value("PRAGMA data_version")
        if version == getattr(self._seen, "version", None):
            return False
        self._seen.version = version
        return True


@contextmanager
def whole_or_thrown_away(lock: AbstractContextManager[object], throw_away: Callable[[], None]) -> Iterator[None]:
    """Hold the lock during a change; what a failure or Ctrl-C leaves half done is thrown away."""
    with lock:
        try:
            yield
        except BaseException:
            throw_away()
            raise
