"""The documents a brain knows, and forgetting them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from ruvllm.memory.rows import delete_nodes
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType, NodeType

__all__ = ["SourceSummary", "forget_source", "read_sources"]


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """One ingested document; `ingested` is seconds since the epoch."""

    source: str
    title: str | None
    chunks: int
    ingested: float


def read_sources(store: Store, namespace: str) -> list[SourceSummary]:
    """Return the ingested documents, in order of their names."""
    sql = "SELECT source, title, chunks, ingested FROM documents WHERE namespace = ? ORDER BY source"
    return [SourceSummary(*row) for row in store.rows(sql, (namespace,))]


def forget_source(connection: apsw.Connection, namespace: str, name: str) -> list[int]:
    """Delete what came from a source, or from all sources below a folder, and the answers that used it.

    Returns:
        the ids of the deleted nodes.

    Raises:
        ValueError: nothing here is called `name`.
    """
    names = [name, os.path.abspath(name)]
    prefixes = [n.rstrip(os.sep) + os.sep for n in names]
    is_it = "namespace = ? AND (source IN (?, ?) OR substr(source, 1, ?) = ? OR substr(source, 1, ?) = ?)"
    parameters = [namespace, *names, *(value for prefix in prefixes for value in (len(prefix), prefix))]
    ids = [row[0] for row in fetch(connection, f"SELECT id FROM nodes WHERE {is_it}", parameters)]
    if not ids:
        raise ValueError(f"source: nothing here is called {name!r}")
    ids += _answers_using(connection, ids)
    delete_nodes(connection, ids)
    connection.execute(f"DELETE FROM documents WHERE {is_it}", parameters)
    return ids


def _answers_using(connection: apsw.Connection, ids: Sequence[int]) -> list[int]:
    sql = (
        "SELECT DISTINCT src FROM edges JOIN nodes ON id = src WHERE edges.type = ? AND nodes.type = ? "
        "AND created_by = 'ask' AND dst IN (SELECT value FROM json_each(?))"
    )
    parameters = (EdgeType.CITES.value, NodeType.ANSWER.value, json.dumps(list(ids)))
    return [row[0] for row in fetch(connection, sql, parameters) if row[0] not in set(ids)]
