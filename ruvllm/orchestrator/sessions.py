"""One request at a time in each session: the later one's prompt holds the earlier one's answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

__all__ = ["SessionQueue"]

POLL_S = 0.05  # how soon a waiting request notices that it was cancelled


class SessionQueue:
    """Lets requests of different sessions run beside each other, those of one session one after another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owners: dict[str, int] = {}  # session -> thread that runs its request

    @contextmanager
    def turn(self, session: str, *, cancelled: Callable[[], bool], timeout_s: float) -> Iterator[None]:
        """Hold the session while the body runs, waiting up to `timeout_s` for an earlier request of it.

        Raises:
            RuntimeError: this very thread has an unfinished stream of the session; waiting for it would never end.
            TimeoutError: the earlier request took longer.
            CancelledError: `cancelled()` turned True while waiting.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (owner := self._owners.get(session)) is not None:
                if owner == threading.get_ident():
                    raise RuntimeError(f"session {session!r} has an unfinished stream: read it to its end or close it")
                if cancelled():
                    raise CancelledError
                if time.monotonic() > deadline:
                    raise TimeoutError(f"session {session!r} was busy with an earlier request for {timeout_s:g} s")
                self._changed.wait(POLL_S)
            self._owners[session] = threading.get_ident()
        try:
            yield
        finally:
            with self._changed:
                del self._owners[session]
                self._changed.notify_all()
