"""Cutting a text stream at its first stop sequence, without ever showing a part of one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopFilter"]


class StopFilter:
    """Passes text on up to the stop sequence that is complete first.

    A tail that could still become a stop sequence is held back until it is decided. The output depends on the text
    alone, never on how it was cut into pieces: of two stop sequences ending at the same character the longer one is
    cut off.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if any(not stop for stop in stops):
            raise ValueError("stops must not hold an empty string")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Return what may be shown now that `text` has arrived; nothing more once a stop sequence was seen."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        # (end, start) of the first occurrence of each stop; the least one is complete first and cuts most
        found = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        keep = max(_overlap(text, stop) for stop in self._stops)
        shown, self._held = text[: len(text) - keep], text[len(text) - keep :]
        return shown

    def flush(self) -> str:
        """Return the tail that was held back and did not become a stop sequence."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a proper beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
