"""Nodes and edges as rows: what the statements of every other module here agree on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw
import msgspec
import numpy as np

from ruvllm.memory.store import Store
from ruvllm.types import Edge, EdgeType, Node, NodeType, Tier
from ruvllm.types.checks import is_number

__all__ = [
    "BY_DST",
    "EDGE_COLUMNS",
    "MADE_BY",
    "MAX_NAME_CHARS",
    "NODE_COLUMNS",
    "SEARCHED",
    "are_unit",
    "as_unit_rows",
    "checked_name",
    "checked_text",
    "checked_weight",
    "delete_keywords",
    "delete_nodes",
    "edge_of",
    "existing",
    "fetch_nodes",
    "insert_edge",
    "insert_keywords",
    "insert_node",
    "insert_nodes",
    "node_of",
    "title_of",
    "vector_of",
]

NODE_COLUMNS = (
    "nodes.id, nodes.type, nodes.text, nodes.namespace, nodes.source, nodes.metadata, nodes.created, nodes.last_used, "
    "nodes.use_count, nodes.tier, nodes.trust, nodes.session, nodes.probation"
)
SEARCHED = "nodes.probation = 0 AND nodes.tier = 'hot' AND nodes.ended IS NULL"
"""What every search of the namespace sees; the words of the index nodes_searched."""

BY_DST = "INDEXED BY edges_by_dst"
"""For edges to a few nodes: SQLite, which takes each for a hub once some are, would read all edges instead."""

MAX_NAME_CHARS = 256
MADE_BY = "compression"
"""Who made the edges between a concept and what it contains. Walks do not follow them: a concept is no shortcut between
passages that merely look alike."""

INSERT_NODE = (
    "INSERT INTO nodes (namespace, type, text, source, metadata, created, last_used, trust, session, probation, "
    "document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 * ifnull((SELECT trust FROM documents WHERE id = ?11), 1.0), "
    "?9, ?10, ?11)"
)
INSERT_VECTOR = "INSERT INTO vectors (node, vector) VALUES (?, ?)"
INSERT_KEYWORDS = "INSERT INTO keywords (rowid, title, body) VALUES (?, ?, ?)"

EDGE_COLUMNS = (
    "edges.src, edges.dst, edges.type, edges.weight, edges.success, edges.failure, edges.last_used, edges.created_by"
)


_TYPES = {type_.value: type_ for type_ in NodeType}
_TIERS = {tier.value: tier for tier in Tier}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _metadata_of(stored: str) -> dict[str, Any]:
    """Return metadata as `json.loads` would, in a tenth of the time."""
    try:
        return _decode(stored)
    except msgspec.DecodeError:  # a number beyond float64, which JSON may hold
        whole: dict[str, Any] = json.loads(stored)
        return whole


def node_of(row: Sequence[Any]) -> Node:
    """Return the node that a row of NODE_COLUMNS holds."""
    id_, type_, text, namespace, source, metadata, created, last_used, use_count, tier, trust, session, probation = row
    return Node(
        id=id_,
        type=_TYPES[type_],
        text=text,
        namespace=namespace,
        source=source,
        metadata=_metadata_of(metadata),
        created=created,
        last_used=last_used,
        use_count=use_count,
        tier=_TIERS[tier],
        trust=trust,
        session=session,
        on_probation=bool(probation),
    )


def edge_of(row: Sequence[Any]) -> Edge:
    """Return the edge that a row of EDGE_COLUMNS holds."""
    src, dst, type_, weight, success, failure, last_used, created_by = row
    return Edge(src, dst, EdgeType(type_), weight, success, failure, last_used, created_by)


def title_of(metadata: Mapping[str, Any]) -> str:
    """Return what the keyword index holds as a node's title: its document's title and heading, or its question."""
    return " > ".join(str(metadata[key]) for key in ("title", "heading", "question") if metadata.get(key))


def insert_node(
    connection: apsw.Connection,
    text: str,
    vector: np.ndarray,
    *,
    type: NodeType,
    namespace: str,
    created: float,
    source: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    trust: float = 1.0,
    session: str | None = None,
    on_probation: bool = False,
    document: int | None = None,
) -> int:
    """Insert a node with its vector ((native_dim,) float32, unit length) and keyword row; return its new id.

    Its trust is multiplied by that of its document.
    """
    metadata = metadata or {}
    stored = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
    row = (namespace, type.value, text, source, stored, created, created, trust, session, int(on_probation), document)
    return insert_nodes(connection, [row], [title_of(metadata)], vector[np.newaxis])[0]


def insert_nodes(
    connection: apsw.Connection, rows: Sequence[tuple[Any, ...]], titles: Sequence[str], vectors: np.ndarray
) -> range:
    """Insert nodes with their vectors and keyword rows; return their new ids, in order.

    Args:
        rows: (namespace, type, text, source, metadata as JSON, created, last_used, trust, session, probation, document)
            of each.
        titles: what each is also found by.
        vectors: (n, native_dim) float32, unit length.
    """
    connection.executemany(INSERT_NODE, rows)
    last = connection.last_insert_rowid()
    ids = range(last - len(rows) + 1, last + 1)  # AUTOINCREMENT, and nobody else writes
    blobs = map(np.ndarray.tobytes, vectors.astype("<f4", copy=False))
    connection.executemany(INSERT_VECTOR, zip(ids, blobs, strict=True))
    connection.executemany(INSERT_KEYWORDS, zip(ids, titles, (row[2] for row in rows), strict=True))
    return ids


def insert_keywords(connection: apsw.Connection, node_id: int, title: str, text: str) -> None:
    """Let a node be found by its words."""
    connection.execute(INSERT_KEYWORDS, (node_id, title, text))


def delete_keywords(connection: apsw.Connection, ids: Iterable[int]) -> None:
    """Let nodes not be found by their words."""
    connection.executemany("DELETE FROM keywords WHERE rowid = ?", [(i,) for i in ids])


def insert_edge(
    connection: apsw.Connection,
    src: int,
    dst: int,
    type: EdgeType,
    *,
    weight: float,
    created_by: str,
    now: float,
) -> None:
    """Insert an edge; one that exists already keeps its history and takes the new weight, and what a model linked is
    then whoever inserts it's."""
    connection.execute(
        "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) "
        "ON CONFLICT (src, dst, type) DO UPDATE SET weight = excluded.weight, last_used = excluded.last_used, "
        "ended = NULL, created_by = iif(created_by GLOB 'enrichment:*', excluded.created_by, created_by)",
        (src, dst, type.value, weight, now, created_by),
    )


def delete_nodes(connection: apsw.Connection, ids: Iterable[int]) -> None:
    """Delete nodes for good; vectors and edges go with them."""
    each = [(i,) for i in ids]
    delete_keywords(connection, [i for (i,) in each])
    connection.executemany("DELETE FROM nodes WHERE id = ?", each)


def fetch_nodes(store: Store, ids: Iterable[int]) -> dict[int, Node]:
    """Return the nodes of `ids` that exist, by id."""
    sql = f"SELECT {NODE_COLUMNS} FROM nodes WHERE id IN (SELECT value FROM json_each(?))"
    return {row[0]: node_of(row) for row in store.rows(sql, (json.dumps([int(i) for i in ids]),))}


def existing(connection: apsw.Connection, ids: Iterable[int]) -> list[int]:
    """Return those of `ids` that were not deleted meanwhile, each once."""
    rows = connection.execute(
        "SELECT id FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (json.dumps([int(i) for i in ids]),)
    )
    return [row[0] for row in rows]


def vector_of(blob: bytes) -> np.ndarray:
    """Return the stored (native_dim,) float32 vector."""
    return np.frombuffer(blob, dtype="<f4")


def are_unit(vectors: np.ndarray) -> np.ndarray:
    """Return for each of (n, dim) stored vectors whether it is finite and of unit length, (n,) bool."""
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1.0) < 1e-2)  # False for NaN too


def checked_text(text: Any, name: str) -> str:
    """Return `text` when it is text that can be stored and embedded.

    Raises:
        TypeError, ValueError: it is no str, is empty, or holds lone surrogates; the message starts with `name`.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if not text.strip():
        raise ValueError(f"{name} must not be empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not valid text: {error.reason} at character {error.start}") from error
    return text


def checked_name(text: Any, name: str) -> str:
    """Return `text` when it can be the name of a session, or of who asks: a text of at most MAX_NAME_CHARS.

    Raises:
        TypeError, ValueError: as `checked_text`, or it is too long.
    """
    if len(checked_text(text, name)) > MAX_NAME_CHARS:
        raise ValueError(f"{name} is too long ({len(text)} characters, at most {MAX_NAME_CHARS})")
    return str(text)


def checked_weight(weight: float, name: str = "weight") -> float:
    """Return `weight` when it is in [0, 1], else raise ValueError."""
    if not (is_number(weight) and 0.0 <= weight <= 1.0):
        raise ValueError(f"{name} must be in [0, 1] ({weight!r})")
    return float(weight)


def as_unit_rows(vectors: Any, dim: int, name: str) -> np.ndarray:
    """Return (n, dim) C-contiguous float32 rows of unit length; the input itself where it already is that.

    Raises:
        ValueError: another shape, a NaN or infinity, or a zero vector.
    """
    rows = np.ascontiguousarray(np.atleast_2d(np.asarray(vectors)), dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"{name} must have {dim} dimensions (shape {np.shape(vectors)})")
    squares = np.einsum("ij,ij->i", rows, rows)
    if len(squares) and squares.min() > 0.9981 and squares.max() < 1.0019:  # False for NaN too
        return rows
    norms = np.sqrt(squares)
    if not np.isfinite(norms).all():
        raise ValueError(f"{name} holds a NaN or an infinity")
    if rows.shape[0] and norms.min() < 1e-12:
        raise ValueError(f"{name} holds a zero vector")
    if rows.shape[0] and np.abs(norms - 1.0).max() > 1e-3:
        rows = rows / norms[:, None]
    return rows
