"""What held before: nodes that were replaced are ended, not deleted, and can be read as of a past time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.concepts import concepts_of_only
from ruvllm.memory.rows import MADE_BY, SEARCHED, delete_keywords, delete_nodes
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType, NodeType

__all__ = ["Change", "alive_at", "delete_ended", "edges_at", "end_nodes"]

DAY_S = 86_400.0

HELD = "{0}.probation = 0 AND {0}.tier = 'hot' AND {0}.created <= ?2 AND ({0}.ended IS NULL OR {0}.ended > ?2)"

EDGES_AT = (  # the columns of SEARCHED_EDGES
    "SELECT src, dst, edges.type, weight, edges.last_used, success, failure, edges.decayed FROM edges "
    f"JOIN nodes AS a ON a.id = src AND a.namespace = ?1 AND {HELD.format('a')} "
    f"JOIN nodes AS b ON b.id = dst AND b.namespace = ?1 AND {HELD.format('b')} "
    f"WHERE src <> dst AND created_by <> '{MADE_BY}' AND edges.created <= ?2 "
    "AND (edges.ended IS NULL OR edges.ended > ?2)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the searched nodes: ids that left, ids that came with their vectors (n, native_dim) float32.

    Of those in `stayed` the trust may be another.
    """

    left: tuple[int, ...] = ()
    came: tuple[int, ...] = ()
    vectors: np.ndarray | None = None
    stayed: tuple[int, ...] = ()


def end_nodes(connection: apsw.Connection, ids: Sequence[int], now: float) -> None:
    """Say that nodes hold no longer; they leave every search and keep text, vector and edges, but no names."""
    connection.execute(
        "UPDATE nodes SET ended = ? WHERE ended IS NULL AND id IN (SELECT value FROM json_each(?))",
        (now, json.dumps(list(ids))),
    )
    delete_keywords(connection, ids)
    for table in ("names", "mentions"):  # a name that many versions have had is still a rare one
        connection.executemany(f"DELETE FROM {table} WHERE node = ?", [(i,) for i in ids])


def delete_ended(connection: apsw.Connection, history_days: float, now: float) -> list[int]:
    """Delete passages that were replaced more than `history_days` ago, in all namespaces, and concepts that contain
    nothing else; return the ids of what went."""
    sql = "SELECT id FROM nodes WHERE type = ? AND ended < ?"
    ids = [row[0] for row in fetch(connection, sql, (NodeType.DOCUMENT.value, now - history_days * DAY_S))]
    _hand_origins_on(connection, ids)
    ids += concepts_of_only(connection, ids)  # without an edge nobody would know where they came from
    delete_nodes(connection, ids)
    return ids


def _hand_origins_on(connection: apsw.Connection, passages: Sequence[int]) -> None:
    """Let what was derived from passages, and may repeat their words, be derived from the version that replaced them.

    `forget` goes by it; walks do not.
    """
    connection.execute(
        "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
        "SELECT src, heir, edges.type, weight, edges.last_used, edges.created, ?3 FROM (SELECT old.id, "
        "(SELECT min(id) FROM nodes WHERE document = old.document AND ended IS NULL) AS heir FROM nodes AS old "
        "WHERE old.id IN (SELECT value FROM json_each(?1))) AS old JOIN edges ON dst = old.id AND edges.type = ?2 "
        "WHERE heir IS NOT NULL AND src <> heir ON CONFLICT DO NOTHING",
        (json.dumps(list(passages)), EdgeType.DERIVED.value, MADE_BY),
    )


def alive_at(
    store: Store, namespace: str, time: float, condition: tuple[str, Sequence[Any]] = ("1", ())
) -> tuple[np.ndarray, list[tuple[int, str, str, bytes]]]:
    """Return what held at `time` (seconds since the epoch), apart from what is archived or on probation now.

    Args:
        condition: of `condition_of`; what has ended is only returned where it passes.

    Returns:
        the ids, (n,) int64 ascending, of nodes that are searched today and existed then; and the rows (id, text,
        metadata, vector) of those that held then and have ended since.
    """
    searched = f"SELECT id FROM nodes WHERE namespace = ?1 AND {SEARCHED} AND created <= ?2 ORDER BY id"
    ended = (
        "SELECT id, text, metadata, vector FROM nodes JOIN vectors ON node = id "
        f"WHERE namespace = ?1 AND nodes.ended IS NOT NULL AND {HELD.format('nodes')} AND {condition[0]} ORDER BY id"
    )
    ids = np.array([row[0] for row in store.rows(searched, (namespace, time))], np.int64)
    return ids, store.rows(ended, (namespace, time, *condition[1]))


def edges_at(store: Store, namespace: str, time: float) -> list[tuple[Any, ...]]:
    """Return the edges that held at `time` between nodes that did, with today's weights, in rows of SEARCHED_EDGES."""
    return store.rows(EDGES_AT, (namespace, time))
