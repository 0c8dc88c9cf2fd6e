"""Phrases and beginnings of words, found by SQLite's full-text index; `search` ranks words by BM25 instead."""

from __future__ import annotations

from ruvllm.memory.rows import NODE_COLUMNS, SEARCHED, node_of
from ruvllm.memory.store import Store
from ruvllm.types import Node

__all__ = ["find_phrase"]


def find_phrase(store: Store, namespace: str, phrase: str, k: int, *, prefix: bool) -> list[Node]:
    """Return at most `k` searched nodes that hold the phrase, best first; its words are compared by their stems."""
    quoted = '"' + phrase.replace('"', '""').replace("\0", " ") + '"'  # a NUL would end the expression
    rows = store.rows(
        f"SELECT {NODE_COLUMNS} FROM keywords JOIN nodes ON nodes.id = keywords.rowid WHERE keywords MATCH ? "
        f"AND namespace = ? AND {SEARCHED} AND trust > 0.0 ORDER BY keywords.rank, nodes.id LIMIT ?",
        (f"{quoted} *" if prefix else quoted, namespace, k),
    )
    return [node_of(row) for row in rows]
