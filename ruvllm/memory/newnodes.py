"""Nodes that somebody inserts: checked at the door, merged with what says the same, stored in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.arguments import checked_kind
from ruvllm.memory.duplicates import Duplicates, first_alike
from ruvllm.memory.rows import checked_text, checked_weight, insert_nodes, title_of
from ruvllm.types import EdgeType, NodeType

__all__ = ["NewNode", "checked_json", "insert_new_nodes", "link_steps", "new_node"]

FIELDS = frozenset(("text", "metadata", "trust"))
STEP_WEIGHT = 0.5  # of the edge from a step of an agent to the next one, as from a passage to the next
BLOCK = 1024  # nodes that are compared with each other at a time


@dataclass(frozen=True, slots=True)
class NewNode:
    """One node to store; `metadata` is JSON, `title` what it is found by besides."""

    text: str
    metadata: str = "{}"
    title: str = ""
    trust: float = 1.0


def new_node(node: str | Mapping[str, Any]) -> NewNode:
    """Return what is to be stored of a text or a mapping.

    Raises:
        TypeError, ValueError: it is neither, has unknown fields, or a field cannot be stored; the message names it.
    """
    if isinstance(node, str):
        return NewNode(checked_text(node, "text"))
    if not isinstance(node, Mapping):
        raise TypeError(f"nodes must be texts or mappings, not {type(node).__name__}")
    if unknown := sorted(map(str, node.keys() - FIELDS)):
        raise ValueError(f"nodes: unknown field {unknown[0]!r}; known: {', '.join(sorted(FIELDS))}")
    text, trust = checked_text(node.get("text"), "text"), checked_weight(node.get("trust", 1.0), "trust")
    metadata = node.get("metadata")
    if metadata is None:
        return NewNode(text, trust=trust)
    return NewNode(text, checked_json(metadata, "metadata"), title_of(metadata), trust)


def checked_json(metadata: Any, name: str) -> str:
    """Return a mapping as JSON.

    Raises:
        TypeError, ValueError: it is none, or JSON cannot hold it.
    """
    checked_kind(metadata, Mapping, name)
    try:
        stored = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
        stored.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be a mapping that JSON can hold: {error}") from error
    return stored


def insert_new_nodes(
    connection: apsw.Connection,
    duplicates: Duplicates,
    nodes: Sequence[NewNode],
    vectors: np.ndarray,
    type: NodeType,
    namespace: str,
    source: str | None,
) -> list[tuple[int, bool]]:
    """Insert nodes with their vectors ((n, native_dim) float32, unit length); return ids and whether each is new.

    Of one that is here already the use_count grows.
    """
    stored: list[tuple[int, bool]] = []
    now = time.time()
    for start in range(0, len(nodes), BLOCK):
        part = slice(start, start + BLOCK)
        stored += _insert_block(connection, duplicates, nodes[part], vectors[part], type, namespace, source, now)
    return stored


def link_steps(
    connection: apsw.Connection, stored: Sequence[tuple[int, bool]], namespace: str, source: str | None
) -> None:
    """Let each step of an agent lead to the next one, and the last step of `source` so far to the first of these.

    Args:
        stored: as `insert_new_nodes` returned them; of two steps at least one is new where an edge is inserted.
    """
    first = min((node_id for node_id, is_new in stored if is_new), default=None)
    if first is None:
        return
    last = connection.execute(
        "SELECT max(id) FROM nodes WHERE namespace = ? AND source = ? AND type = ? AND id < ? "
        "AND ended IS NULL AND tier = 'hot'",
        (namespace, source, NodeType.AGENT_STEP.value, first),
    ).get
    steps = [*([(last, False)] if last is not None else []), *stored]
    now = time.time()
    connection.executemany(
        "INSERT OR IGNORE INTO edges (src, dst, type, weight, last_used, created, created_by) "
        "VALUES (?, ?, ?, ?, ?, ?, 'order')",
        [
            (src, dst, EdgeType.AGENT_STEP.value, STEP_WEIGHT, now, now)
            for (src, was_new), (dst, is_new) in pairwise(steps)
            if src != dst and (was_new or is_new)
        ],
    )


def _insert_block(
    connection: apsw.Connection,
    duplicates: Duplicates,
    nodes: Sequence[NewNode],
    vectors: np.ndarray,
    type: NodeType,
    namespace: str,
    source: str | None,
    now: float,
) -> list[tuple[int, bool]]:
    texts = [node.text for node in nodes]
    known = duplicates.during(connection, texts, vectors, type)
    unknown = [row for row, node_id in enumerate(known) if node_id is None]
    first = [unknown[i] for i in first_alike([texts[row] for row in unknown], _taken(vectors, unknown))]
    new = [row for row, one in zip(unknown, first, strict=True) if row == one]
    stored = [nodes[row] for row in new]
    ids = insert_nodes(
        connection,
        [(namespace, type.value, one.text, source, one.metadata, now, now, one.trust, None, 0, None) for one in stored],
        [one.title for one in stored],
        _taken(vectors, new),
    )
    is_new = dict(zip(new, ids, strict=True))
    for row, one in zip(unknown, first, strict=True):
        known[row] = is_new[one]
    found = [(node_id, row in is_new) for row, node_id in enumerate(known) if node_id is not None]
    connection.executemany(
        "UPDATE nodes SET use_count = use_count + 1, last_used = ? WHERE id = ?",
        [(now, node_id) for node_id, fresh in found if not fresh],
    )
    return found


def _taken(vectors: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Return some rows, ascending; no copy when these are all."""
    return vectors if len(rows) == len(vectors) else vectors[list(rows)]
