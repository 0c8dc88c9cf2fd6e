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
    """Delete what came from a source, or from all sources below a folder, and the answers that saw any of it.

    An answer that was only shown a source, or an answer made of it, may still repeat it. Of a correction, which is a
    source by the name of feedback:ID, the words in the feedback go too.

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
    ids = _with_answers(connection, ids)
    _forget_corrections(connection, ids)
    delete_nodes(connection, ids)
    connection.execute(f"DELETE FROM documents WHERE {is_it}", parameters)
    return ids


def _with_answers(connection: apsw.Connection, ids: Sequence[int]) -> list[int]:
    """Return `ids` and all answers that were derived from them, directly or through other answers."""
    sql = (
        "WITH RECURSIVE gone (id) AS (SELECT value FROM json_each(?) UNION "
        "SELECT src FROM gone JOIN edges ON dst = gone.id JOIN nodes ON nodes.id = src "
        "WHERE edges.type = ? AND nodes.type = ? AND created_by = 'ask') SELECT id FROM gone"
    )
    return [
        row[0] for row in fetch(connection, sql, (json.dumps(list(ids)), EdgeType.DERIVED.value, NodeType.ANSWER.value))
    ]


def _forget_corrections(connection: apsw.Connection, ids: Sequence[int]) -> None:
    where = "correction_node IN (SELECT value FROM json_each(?))"
    is_all = "rating IS NULL AND quality IS NULL AND task_success IS NULL"
    connection.execute(f"DELETE FROM feedback WHERE {where} AND {is_all}", (json.dumps(list(ids)),))
    connection.execute(f"UPDATE feedback SET correction = NULL WHERE {where}", (json.dumps(list(ids)),))
