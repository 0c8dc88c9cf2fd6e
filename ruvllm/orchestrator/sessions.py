"""One request at a time in each session, in the order they came: the later one's prompt holds the earlier's answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Place", "SessionQueue"]

POLL_S = 0.05  # how soon a waiting request notices that it was cancelled


@dataclass(slots=True, eq=False)
class Place:
    """One request in the line of its session; `thread` is who reads its stream, None where several do."""

    thread: int | None

    def read_on(self) -> None:
        """Say that the calling thread reads on."""
        if self.thread != threading.get_ident():
            self.thread = None


class SessionQueue:
    """Lets requests of different sessions run beside each other, those of one session one after another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: dict[str, deque[Place]] = {}  # session -> who runs now and who waits, in order

    @contextmanager
    def turn(self, session: str, *, cancelled: Callable[[], bool], timeout_s: float) -> Iterator[Place]:
        """Hold the session while the body runs, waiting up to `timeout_s` for earlier requests of it.

        Raises:
            RuntimeError: this very thread reads an unfinished stream of the session; waiting for it would never end.
            TimeoutError: the earlier requests took longer.
            CancelledError: `cancelled()` turned True while waiting.
        """
        place = Place(me := threading.get_ident())
        with self._changed:
            line = self._lines.setdefault(session, deque())
            if any(other.thread == me for other in line):
                raise RuntimeError(f"session {session!r} has an unfinished stream: read it to its end or close it")
            line.append(place)
        try:
            self._wait(session, line, place, cancelled, timeout_s)
            yield place
        finally:
            with self._changed:
                line.remove(place)
                if not line:
                    del self._lines[session]
                self._changed.notify_all()

    def _wait(
        self, session: str, line: deque[Place], place: Place, cancelled: Callable[[], bool], timeout_s: float
    ) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while line[0] is not place:
                if cancelled():
                    raise CancelledError
                if time.monotonic() > deadline:
                    raise TimeoutError(f"session {session!r} was busy with earlier requests for {timeout_s:g} s")
                self._changed.wait(POLL_S)
