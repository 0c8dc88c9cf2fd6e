"""The text that stands for a node before the embedder: itself in its context."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["embedded_text", "embedded_texts", "prefix_of", "tail_of"]

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


def embedded_texts(rows: Callable[[str, Any], list[tuple[Any, ...]]], ids: Sequence[int]) -> dict[int, str]:
    """Return what the embedder was given for stored nodes, by id; those that do not exist are left out.

    Args:
        rows: runs a query with its parameters.
    """
    found = rows(
        "SELECT a.id, a.text, a.source, a.metadata, a.document, b.text, b.metadata FROM nodes a "
        "LEFT JOIN nodes b ON b.id = (SELECT max(id) FROM nodes c WHERE c.document = a.document AND c.id < a.id) "
        "AND b.tier = 'hot' WHERE a.id IN (SELECT value FROM json_each(?)) ORDER BY a.id",
        (json.dumps([int(i) for i in ids]),),
    )
    return {row[0]: _given(*row[1:]) for row in found}


def _given(
    text: str,
    source: str | None,
    metadata: str,
    document: int | None,
    text_before: str | None,
    metadata_before: str | None,
) -> str:
    own: Mapping[str, Any] = json.loads(metadata)
    if document is not None:
        before = ""
        if text_before is not None and metadata_before is not None and _follows(own, json.loads(metadata_before)):
            before = text_before
        return embedded_text(text, own, before, prefix=prefix_of(own))
    if own.get("question") and source == f"feedback:{own.get('corrects')}":
        return f"{own['question']}\n{text}"
    return text


def _follows(own: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether a chunk stands right after another one, under the same heading."""
    is_next = own.get("position") == before.get("position", -2) + 1
    return is_next and own.get("heading") == before.get("heading")
