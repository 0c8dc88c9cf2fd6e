"""Until when one request must be answered."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from ruvllm.errors import DeadlineExceeded

__all__ = ["Deadline"]


class Deadline:
    """A moment by the monotonic clock; without `timeout_s` it never comes.

    Args:
        timeout_s: seconds from `start`, > 0.
        start: when the request was asked; now when None.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, timeout_s: float | None, *, start: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = math.inf if timeout_s is None else _checked(timeout_s)
        self._clock = clock
        self._at = self.timeout_s + (clock() if start is None else start)

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self._clock() >= self._at

    def left_s(self, most: float) -> float:
        """Return how long one may wait for something that is waited for `most` seconds at the longest."""
        return max(min(most, self._at - self._clock()), 0.0)

    def check(self, stage: str) -> None:
        """Raise DeadlineExceeded, naming the stage that comes next, where no time is left."""
        if self.has_passed:
            raise DeadlineExceeded(stage, self.timeout_s)


def _checked(timeout_s: float) -> float:
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s > 0:
        raise ValueError(f"timeout_s must be a number of seconds > 0 ({timeout_s!r})")
    return float(timeout_s) if timeout_s <= threading.TIMEOUT_MAX else math.inf  # what nobody can wait for is no limit
