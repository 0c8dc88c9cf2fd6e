"""Shelves: the archived nodes behind each concept, on disk, packed so that one search reads thousands of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import apsw
import numpy as np

from ruvllm.memory.rows import SEARCHED, title_of, vector_of
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType, NodeType

__all__ = ["SHELVES", "ColdFile", "forget_words", "outdated", "refile", "repack", "unfile"]

READ_NODES = 1024  # vectors compared with those of all concepts at a time
PACKED_AT_ONCE = 1024  # nodes of a shelf, in some 25 ms

SHELVES = """
CREATE TABLE IF NOT EXISTS shelves (  -- of a concept: what is archived behind it
    concept INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    centroid BLOB NOT NULL,  -- float32, unit length
    nodes BLOB NOT NULL,  -- int64 ids
    vectors BLOB NOT NULL  -- float16, a row for each
) STRICT;
CREATE TABLE IF NOT EXISTS filed (node INTEGER PRIMARY KEY, concept INTEGER NOT NULL, namespace TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS filed_by_concept ON filed (concept);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    title, body, content = '', contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2'
);
"""

CONTAINED = (  # archived nodes and the concept that contains each
    "SELECT dst, min(src) FROM edges JOIN nodes AS concept ON concept.id = src AND concept.type = ?2 "
    f"AND {SEARCHED.replace('nodes.', 'concept.')} JOIN nodes AS member ON member.id = dst AND member.namespace = ?1 "
    "AND member.tier = 'cold' AND member.ended IS NULL WHERE edges.type = ?3 AND edges.ended IS NULL GROUP BY dst"
)


class ColdFile(Protocol):
    """What a shelf is kept in."""

    def reading(self) -> AbstractContextManager[apsw.Connection]:
        """Give a connection that only reads."""
        ...

    def writing(self) -> AbstractContextManager[apsw.Connection]:
        """Give a transaction, on disk when it is left."""
        ...


def refile(store: Store, file: ColdFile, namespace: str) -> int:
    """File every archived node of a namespace with the concept that contains it, others with the nearest concept.

    Only shelves on which something changed are written. Without any concept nothing is filed. Return how many are.
    """
    cold = [row[0] for row in store.rows(
        "SELECT id FROM nodes WHERE namespace = ? AND tier = 'cold' AND ended IS NULL ORDER BY id", (namespace,)
    )]  # fmt: skip
    with file.writing() as connection:
        connection.execute(SHELVES)
        before = dict(fetch(connection, "SELECT node, concept FROM filed WHERE namespace = ?", (namespace,)))
        now = _places(store, connection, namespace, cold, before)
        moved = [node for node in {*now, *before} if now.get(node) != before.get(node)]
        touched = {concept for node in moved for concept in (now.get(node), before.get(node)) if concept is not None}
        gone = [(node,) for node in moved if node in before]
        connection.executemany("DELETE FROM filed WHERE node = ?", gone)
        connection.executemany("DELETE FROM words WHERE rowid = ?", gone)
        came = [node for node in moved if node in now]
        connection.executemany("INSERT INTO filed VALUES (?, ?, ?)", [(node, now[node], namespace) for node in came])
        _insert_words(store, connection, came)
        for concept in sorted(touched):
            _pack(connection, concept, namespace)
    return len(now)


def unfile(connection: apsw.Connection, nodes: Sequence[int]) -> None:
    """Take nodes, which are back in hot memory or deleted, off their shelves, in the caller's transaction.

    What a large shelf has packed stays as it was until `repack`; searches pass over what is not archived.
    """
    if not fetch(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'filed'"):
        return
    each = json.dumps(list(nodes))
    rows = fetch(
        connection, "SELECT node, concept, namespace FROM filed WHERE node IN (SELECT value FROM json_each(?))", (each,)
    )
    gone = [(node,) for node, _, _ in rows]
    connection.executemany("DELETE FROM filed WHERE node = ?", gone)
    connection.executemany("DELETE FROM words WHERE rowid = ?", gone)
    for concept, namespace in {(concept, namespace) for _, concept, namespace in rows}:
        left = fetch(connection, "SELECT 1 FROM filed WHERE concept = ? LIMIT ?", (concept, PACKED_AT_ONCE + 1))
        if len(left) <= PACKED_AT_ONCE:
            _pack(connection, concept, namespace)


def outdated(connection: apsw.Connection) -> list[tuple[int, str]]:
    """Return the shelves, concept and namespace, that hold what was taken off them."""
    if not fetch(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'filed'"):
        return []
    filed = "SELECT count(*) FROM filed WHERE filed.concept = shelves.concept"
    sql = f"SELECT concept, namespace FROM shelves WHERE length(nodes) / 8 <> ({filed})"
    return [(concept, namespace) for concept, namespace in fetch(connection, sql)]


def repack(connection: apsw.Connection) -> None:
    """Let no shelf hold what was taken off it, in the caller's transaction."""
    for concept, namespace in outdated(connection):
        _pack(connection, concept, namespace)


def forget_words(connection: apsw.Connection) -> None:
    """Let nothing be left of the words of nodes that are on no shelf any more, in the caller's transaction."""
    if fetch(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'words'"):
        connection.execute("INSERT INTO words (words) VALUES ('optimize')")


def _places(
    store: Store, connection: apsw.Connection, namespace: str, cold: Sequence[int], before: Mapping[int, int]
) -> dict[int, int]:
    """Return the concept of each archived node; one that no concept contains stays where it was while that is there."""
    contained = dict(store.rows(CONTAINED, (namespace, NodeType.CONCEPT.value, EdgeType.CONTAINS.value)))
    concepts = store.rows(
        f"SELECT id, vector FROM nodes JOIN vectors ON node = id WHERE namespace = ? AND type = ? AND {SEARCHED} "
        "ORDER BY id",
        (namespace, NodeType.CONCEPT.value),
    )
    if not concepts:
        return {}
    known = {concept for concept, _ in concepts}
    places = {node: contained[node] for node in cold if node in contained}
    places |= {node: before[node] for node in cold if node not in places and before.get(node) in known}
    ids = np.array([concept for concept, _ in concepts], np.int64)
    vectors = np.stack([vector_of(vector) for _, vector in concepts])
    homeless = [node for node in cold if node not in places]
    for start in range(0, len(homeless), READ_NODES):
        rows = _vectors(connection, homeless[start : start + READ_NODES])
        nearest = np.argmax(np.stack([vector_of(vector) for _, vector in rows]) @ vectors.T, axis=1) if rows else ()
        places |= {node: int(ids[i]) for (node, _), i in zip(rows, nearest, strict=True)}
    return places


def _vectors(connection: apsw.Connection, nodes: Iterable[int]) -> list[tuple[Any, ...]]:
    sql = "SELECT id, vector FROM nodes WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
    return fetch(connection, sql, (json.dumps(list(nodes)),))


def _insert_words(store: Store, connection: apsw.Connection, nodes: Sequence[int]) -> None:
    for start in range(0, len(nodes), READ_NODES):
        part = json.dumps(nodes[start : start + READ_NODES])
        titles = dict(
            store.rows("SELECT id, metadata FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (part,))
        )
        texts = fetch(connection, "SELECT id, text FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (part,))
        connection.executemany(
            "INSERT INTO words (rowid, title, body) VALUES (?, ?, ?)",
            [(node, title_of(json.loads(titles[node])), text) for node, text in texts if node in titles],
        )


def _pack(connection: apsw.Connection, concept: int, namespace: str) -> None:
    """Write what a shelf holds, or take it away when that is nothing."""
    connection.execute("DELETE FROM shelves WHERE concept = ?", (concept,))
    rows = fetch(
        connection,
        "SELECT id, vector FROM filed JOIN nodes ON nodes.id = filed.node WHERE concept = ? ORDER BY id",
        (concept,),
    )
    if not rows:
        return
    vectors = np.stack([vector_of(vector) for _, vector in rows])
    centroid = vectors.mean(axis=0)
    centroid /= max(float(np.linalg.norm(centroid)), 1e-6)
    ids = np.array([node for node, _ in rows], np.int64)
    connection.execute(
        "INSERT INTO shelves VALUES (?, ?, ?, ?, ?)",
        (concept, namespace, centroid.tobytes(), ids.tobytes(), vectors.astype(np.float16).tobytes()),
    )
