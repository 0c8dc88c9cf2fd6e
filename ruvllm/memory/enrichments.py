"""Links by names that a local model found: made as ingest makes those by rare names, taken back in one call."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import apsw

from ruvllm.memory.link_batch import MAX_BACK_LINKS, MAX_SHARED, SHARED_LINKS, FoundEdges, shared_weight
from ruvllm.memory.links import EdgeKey
from ruvllm.memory.names import name_of
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store, fetch
from ruvllm.memory.who_says import says
from ruvllm.types import EdgeType, NodeType

__all__ = ["MADE_BY_ENRICHMENT", "delete_enrichments", "unread_nodes", "write_enrichment", "write_failure"]

MADE_BY_ENRICHMENT = "enrichment:"
"""What `created_by` of such an edge begins with; the model follows."""

MAX_TIMES = 3  # that a local model may fail on a passage; an endpoint may have been down each time

IS_ENDPOINT = "instr(?3, '://')"  # of made_by
IS_OURS = f"created_by GLOB '{MADE_BY_ENRICHMENT}*'"
LINKS = (EdgeType.CITES, EdgeType.SHARED_NAME, EdgeType.SAME_TOPIC)  # that do not merely follow from the order of texts


def unread_nodes(store: Store, namespace: str, made_by: str, version: int, max_links: int) -> list[int]:
    """Return the passages with at most `max_links` links that this model has not read, those with the fewest first.

    Those on which it failed come after all others, and not any more when it is local and did so MAX_TIMES times.
    """
    types = ", ".join(f"'{type_.value}'" for type_ in LINKS)
    counted = " + ".join(
        f"(SELECT count(*) FROM (SELECT 1 FROM edges WHERE {end} = nodes.id AND type IN ({types}) "
        f"AND ended IS NULL AND NOT {IS_OURS} LIMIT ?5 + 1))"
        for end in ("src", "dst")
    )
    by_this = "node = nodes.id AND made_by = ?3 AND version = ?4"
    sql = (
        f"SELECT id, {counted} AS links, "
        f"ifnull((SELECT times FROM enrichment_failures WHERE {by_this}), 0) AS times "
        f"FROM nodes WHERE namespace = ?1 AND type = ?2 AND {SEARCHED} AND trust > 0.0 "
        f"AND NOT EXISTS (SELECT 1 FROM enrichments WHERE {by_this}) "
        f"AND links <= ?5 AND (times < {MAX_TIMES} OR {IS_ENDPOINT}) ORDER BY times, links, id"
    )
    return [row[0] for row in store.rows(sql, (namespace, NodeType.DOCUMENT.value, made_by, version, max_links))]


def write_enrichment(
    connection: apsw.Connection, namespace: str, node: int, found: Sequence[str], made_by: str, version: int
) -> tuple[int, list[EdgeKey]] | None:
    """Store what a model found in a node's text and link it to the other texts in which that stands.

    What an earlier reading of the node linked is replaced. A name links as a rare name does at ingest: where at most
    MAX_SHARED nodes of other documents have it, to the newest SHARED_LINKS of them, the weight less the more have it;
    nodes that a name joins already are not joined again.

    Args:
        found: names, each as it stands in the text; those that do not are left out.

    Returns:
        how many links were made, and which edges went; None, and nothing is stored, when the node is not searched any
        more.
    """
    rows = fetch(
        connection, f"SELECT text, document FROM nodes WHERE id = ? AND namespace = ? AND {SEARCHED}", (node, namespace)
    )
    if not rows:
        return None
    [(text, document)] = rows
    gone = _delete_edges(connection, "src = ?", (node,))
    found = [name for name in dict.fromkeys(found) if name in text]
    now, edges, joined = time.time(), FoundEdges(), _joined(connection, node)
    for name in dict.fromkeys(name for each in found if (name := name_of(each)) is not None):
        others = _who_says(connection, namespace, name, node, document)
        if len(others) <= MAX_SHARED:
            for other in others[:SHARED_LINKS]:
                if other not in joined:
                    edges.add(node, other, EdgeType.SHARED_NAME, shared_weight(len(others)), made_by)
    edges.insert(connection, now)
    connection.execute(
        "INSERT OR REPLACE INTO enrichments (node, made_by, version, found) VALUES (?, ?, ?, ?)",
        (node, made_by, version, json.dumps(found, ensure_ascii=False)),
    )
    return len(edges), gone


def write_failure(connection: apsw.Connection, namespace: str, node: int, made_by: str, version: int) -> bool:
    """Count that a model failed on a node, where that is still there; return whether it was for the last time."""
    [last] = fetch(
        connection,
        "INSERT INTO enrichment_failures SELECT id, ?3, ?4, 1 FROM nodes WHERE id = ?1 AND namespace = ?2 "
        "ON CONFLICT (node) DO UPDATE SET made_by = ?3, version = ?4, "
        "times = iif((made_by, version) = (?3, ?4), times, 0) + 1 "
        f"RETURNING times >= ?5 AND NOT {IS_ENDPOINT}",
        (node, namespace, made_by, version, MAX_TIMES),
    ) or [(False,)]
    return bool(last[0])


def delete_enrichments(connection: apsw.Connection, namespace: str) -> list[EdgeKey]:
    """Take everything back that models found in a namespace; return the edges that went."""
    own = "SELECT id FROM nodes WHERE namespace = ?"
    for table in ("enrichments", "enrichment_failures"):
        connection.execute(f"DELETE FROM {table} WHERE node IN ({own})", (namespace,))
    return _delete_edges(connection, f"src IN ({own})", (namespace,))


def _delete_edges(connection: apsw.Connection, which: str, parameters: Sequence[Any]) -> list[EdgeKey]:
    sql = f"DELETE FROM edges WHERE {which} AND {IS_OURS} RETURNING src, dst, type"
    return [(src, dst, type_) for src, dst, type_ in fetch(connection, sql, parameters)]


def _joined(connection: apsw.Connection, node: int) -> set[int]:
    """Return the nodes that a name joins to `node`."""
    types = (EdgeType.CITES.value, EdgeType.SHARED_NAME.value)
    sql = (
        "SELECT dst FROM edges WHERE src = ?1 AND type IN (?2, ?3) "
        "UNION SELECT src FROM edges WHERE dst = ?1 AND type IN (?2, ?3)"
    )
    return {row[0] for row in fetch(connection, sql, (node, *types))}


def _who_says(connection: apsw.Connection, namespace: str, name: str, node: int, document: int | None) -> list[int]:
    """Return the nodes of other documents in which a name stands, word for word, the newest first.

    Where very many have its words in some form, those beyond MAX_BACK_LINKS are not looked at, and it counts as theirs.
    """
    rows = fetch(
        connection,
        "SELECT nodes.id, nodes.text FROM keywords CROSS JOIN nodes ON nodes.id = keywords.rowid "
        f"WHERE keywords MATCH ? AND namespace = ? AND {SEARCHED} AND type = ? AND trust > 0.0 AND nodes.id <> ? "
        "AND (document IS NULL OR document IS NOT ?) ORDER BY keywords.rowid DESC LIMIT ?",
        (f'body : "{name}"', namespace, NodeType.DOCUMENT.value, node, document, MAX_BACK_LINKS),
    )
    if len(rows) == MAX_BACK_LINKS:
        return [id_ for id_, _ in rows]
    return [id_ for id_, text in rows if says(text.lower(), name)]
