"""Nodes that somebody inserts: checked at the door, merged with what says the same, stored in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.duplicates import Searched
from ruvllm.memory.rows import checked_text, checked_weight, insert_node
from ruvllm.types import NodeType

__all__ = ["NewNode", "insert_new_nodes", "new_node"]

FIELDS = frozenset(("text", "metadata", "trust"))


@dataclass(frozen=True, slots=True)
class NewNode:
    """One node to store."""

    text: str
    metadata: Mapping[str, Any]
    trust: float


def new_node(node: str | Mapping[str, Any]) -> NewNode:
    """Return what is to be stored of a text or a mapping.

    Raises:
        TypeError, ValueError: it is neither, has unknown fields, or a field cannot be stored; the message names it.
    """
    fields: Any = {"text": node} if isinstance(node, str) else node
    if not isinstance(fields, Mapping):
        raise TypeError(f"nodes must be texts or mappings, not {type(node).__name__}")
    if unknown := sorted(map(str, fields.keys() - FIELDS)):
        raise ValueError(f"nodes: unknown field {unknown[0]!r}; known: {', '.join(sorted(FIELDS))}")
    return NewNode(
        checked_text(fields.get("text"), "text"),
        _checked_metadata(fields.get("metadata")),
        checked_weight(fields.get("trust", 1.0), "trust"),
    )


def _checked_metadata(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    try:
        json.dumps(dict(metadata or {}), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata must be a mapping that JSON can hold: {error}") from error
    return dict(metadata or {})


def insert_new_nodes(
    connection: apsw.Connection,
    searched: Searched,
    nodes: Sequence[NewNode],
    vectors: np.ndarray,
    type: NodeType,
    namespace: str,
    source: str | None,
) -> list[tuple[int, bool]]:
    """Insert nodes with their vectors ((n, native_dim) float32, unit length); return ids and whether each is new.

    Of one that is here already the use_count grows.
    """
    now = time.time()
    stored = []
    for node, vector in zip(nodes, vectors, strict=True):
        known = searched.duplicate_of(node.text, vector, type)
        if known is not None:
            connection.execute("UPDATE nodes SET use_count = use_count + 1, last_used = ? WHERE id = ?", (now, known))
            stored.append((known, False))
            continue
        node_id = insert_node(
            connection,
            node.text,
            vector,
            type=type,
            namespace=namespace,
            created=now,
            source=source,
            metadata=node.metadata,
            trust=node.trust,
        )
        searched.add(node_id, type, node.text, vector)
        stored.append((node_id, True))
    return stored
