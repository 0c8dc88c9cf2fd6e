"""The text that stands for a node before the embedder: itself in its context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["embedded_text", "prefix_of", "tail_of"]

TAIL_CHARS = 200  # of the chunk or turn before


def embedded_text(text: str, metadata: Mapping[str, Any], before: str = "", *, prefix: str = "") -> str:
    """Return a node's text after its date, its place in the document, and the end of what stood before it.

    On two-person dialogues this context lifts the recall of evidence at 10 from 0.44 to 0.50 by vectors alone, and
    with keywords from 0.66 to 0.71 (LoCoMo, MiniLM).

    Args:
        metadata: its `date` is used.
        before: the text of the chunk or turn before, of the same section.
        prefix: title and headings.
    """
    date = metadata.get("date")
    parts = (str(date) if date else "", prefix, tail_of(before), text)
    return "\n".join(part for part in parts if part)


def prefix_of(metadata: Mapping[str, Any]) -> str:
    """Return title and headings as they were put before a chunk of a document, from what is stored of it."""
    kept = metadata.get("embedded_prefix")  # where it was shortened, or the title left out
    if kept is not None:
        return str(kept)
    return " > ".join(" ".join(str(metadata[key]).split()) for key in ("title", "heading") if metadata.get(key))


def tail_of(text: str) -> str:
    """Return the last TAIL_CHARS of a text, from the start of a word."""
    if len(text) <= TAIL_CHARS:
        return text
    return text[-TAIL_CHARS:].partition(" ")[2]
