"""The part of the graph that a picture shows: what lies around a node, or the nodes with the most links."""

from __future__ import annotations

import json

from ruvllm.memory.rows import EDGE_COLUMNS, edge_of, fetch_nodes
from ruvllm.memory.store import Store
from ruvllm.types import Edge, Neighbourhood

__all__ = ["read_around", "read_most_linked"]

# each edge from both of its ends; ?1 is the namespace
ENDS = """
    SELECT src AS near, dst AS far, weight FROM edges WHERE ended IS NULL {from_src}
    UNION ALL SELECT dst, src, weight FROM edges WHERE ended IS NULL {from_dst}
"""
ALIVE = "nodes.namespace = ?1 AND nodes.ended IS NULL"


def read_around(store: Store, namespace: str, node_id: int, hops: int, max_nodes: int) -> Neighbourhood:
    """Return the nodes at most `hops` edges away, whichever way they point: nearest first, then by weight."""
    ends = ENDS.format(
        from_src="AND src IN (SELECT value FROM json_each(?2))", from_dst="AND dst IN (SELECT value FROM json_each(?2))"
    )
    sql = (
        f"SELECT far FROM ({ends}) JOIN nodes ON nodes.id = far WHERE {ALIVE} "
        "AND far NOT IN (SELECT value FROM json_each(?3)) GROUP BY far ORDER BY max(weight) DESC, far LIMIT ?4"
    )
    found, ring = {node_id: 0}, [node_id]
    for hop in range(1, hops + 1):
        room = max_nodes - len(found)
        rows = store.rows(sql, (namespace, json.dumps(ring), json.dumps(list(found)), room))
        ring = [row[0] for row in rows]
        found |= dict.fromkeys(ring, hop)
    return _with_edges(store, found, node_id)


def read_most_linked(store: Store, namespace: str, max_nodes: int) -> Neighbourhood:
    """Return the nodes with the most edges."""
    sql = (
        f"SELECT near FROM ({ENDS.format(from_src='', from_dst='')}) JOIN nodes ON nodes.id = near "
        f"WHERE {ALIVE} AND near <> far GROUP BY near ORDER BY count(*) DESC, near LIMIT ?2"
    )
    return _with_edges(store, {row[0]: 0 for row in store.rows(sql, (namespace, max_nodes))}, None)


def _with_edges(store: Store, hops: dict[int, int], around: int | None) -> Neighbourhood:
    nodes = fetch_nodes(store, hops)
    sql = (
        f"SELECT {EDGE_COLUMNS} FROM edges WHERE ended IS NULL AND src <> dst "
        "AND src IN (SELECT value FROM json_each(?1)) AND dst IN (SELECT value FROM json_each(?1)) "
        "ORDER BY weight DESC, src, dst, type"
    )
    edges: list[Edge] = [edge_of(row) for row in store.rows(sql, (json.dumps(list(nodes)),))]
    return Neighbourhood(tuple(nodes[i] for i in hops if i in nodes), tuple(edges), hops, around)
