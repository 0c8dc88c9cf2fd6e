"""The shadow phase: a student answers, in time that nobody else wants, what the model in service was asked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass

__all__ = ["Figures", "shadow_job"]

MustStop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Figures:
    """How one answer came out: `quality` in [0, 1] is None where nobody judged it; of what `failed` nothing counts."""

    quality: float | None
    latency_ms: float
    failed: bool = False


def shadow_job(
    answer: Callable[[MustStop], Figures], keep: Callable[[Figures], None], is_wanted: Callable[[], bool]
) -> Callable[[MustStop], bool]:
    """Return a job for spare time that lets a student answer once and keeps what came of it.

    Args:
        answer: lets the student answer and raises CancelledError where it has to stop.
        keep: gets the figures.
        is_wanted: asked first: whether the trial still goes on.
    """

    def job(must_stop: MustStop) -> bool:
        if not is_wanted():
            return True
        try:
            figures = answer(_latched(must_stop))
        except CancelledError:
            return False
        keep(figures)
        return True

    return job


def _latched(must_stop: MustStop) -> MustStop:
    """Return the same question, whose answer stays True: a short request must not look like a failure."""
    stopped = False

    def latch() -> bool:
        nonlocal stopped
        stopped = stopped or must_stop()
        return stopped

    return latch
