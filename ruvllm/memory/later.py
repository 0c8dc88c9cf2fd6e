"""What may be written a little later: in one commit with all that came meanwhile, and no caller waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ruvllm.closing import Closes

__all__ = ["Later"]


class Later(Closes):
    """Calls `write` some time after each `soon`, once for all that came meanwhile. Safe from several threads.

    `write` takes what waits under `lock`, which whoever adds to it holds, too; calls of it never overlap, so that who
    waits for `flush` waits for all.

    Args:
        interval_s: longest time that something waits, and what a crash can lose.
    """

    def __init__(self, write: Callable[[], None], interval_s: float) -> None:
        self.lock = threading.Lock()
        self.is_closed = False
        self._write = write
        self._interval_s = interval_s
        self._writing = threading.Lock()
        self._timer: threading.Timer | None = None

    def soon(self) -> None:
        """Have `write` called; the caller holds `lock`."""
        if self._timer is None:
            self._timer = threading.Timer(self._interval_s, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Call `write` now, in this thread."""
        with self._writing:
            with self.lock:
                timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            self._write()

    def close(self) -> None:
        """Write what waits; whoever asks `is_closed` adds nothing more. May be called twice."""
        with self.lock:
            self.is_closed = True
        self.flush()
