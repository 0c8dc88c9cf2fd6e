"""Concepts as rows: a node that stands for a cluster, contains its members, and can be taken back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.rows import (
    BY_DST,
    MADE_BY,
    checked_text,
    delete_keywords,
    delete_nodes,
    insert_edge,
    insert_keywords,
    insert_node,
    title_of,
)
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType, NodeType
from ruvllm.types.graph import PRIVATE, says_private

__all__ = [
    "Concept",
    "StoredConcept",
    "concepts_of_only",
    "delete_concept",
    "hide_concepts_of",
    "hide_stale",
    "read_concepts",
    "write_concept",
]

IS_ALIVE = "probation = 0 AND ended IS NULL AND trust > 0.0"


@dataclass(frozen=True, slots=True)
class Concept:
    """What was made of a cluster; its metadata say how: title, keywords, source_cluster_size, summary, model."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    type: NodeType = NodeType.CONCEPT


@dataclass(frozen=True, slots=True)
class StoredConcept:
    """A concept as it is stored.

    Attributes:
        level: 1 where it contains passages, 2 where it contains concepts of level 1, and so on.
        members: ids of what it contains, ascending, with those that ended or were revoked since.
        archived: those of them that are archived and hold still.
        lost: how many of its members ended or were revoked.
        is_hidden: searches do not find it until it is written anew.
        is_exposed: something that it contains is private, and it is not: it came from a version that did not look.
    """

    id: int
    text: str
    level: int
    metadata: Mapping[str, Any]
    members: tuple[int, ...]
    archived: frozenset[int]
    lost: int
    is_hidden: bool = False
    is_exposed: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether it may stay as it is while its members do."""
        return not (self.lost or self.is_hidden or self.is_exposed)


def read_concepts(store: Store, namespace: str) -> list[StoredConcept]:
    """Return the concepts that were made here, in order of their ids; those that a user inserted are not among them."""
    rows = store.rows(
        "SELECT c.id, c.text, c.metadata, json_group_array(json_array(m.id, m.tier, "
        "m.probation = 0 AND m.ended IS NULL AND m.trust > 0.0, m.metadata -> ?)), c.trust <= 0.0 "
        "FROM nodes c JOIN edges e ON e.src = c.id AND e.type = ? AND e.created_by = ? "
        "JOIN nodes m ON m.id = e.dst WHERE c.namespace = ? AND c.type = ? AND c.ended IS NULL GROUP BY c.id",
        (PRIVATE, EdgeType.CONTAINS.value, MADE_BY, namespace, NodeType.CONCEPT.value),
    )
    concepts = []
    for id_, text, stored, contained, is_hidden in rows:
        metadata, members = json.loads(stored), json.loads(contained)
        concepts.append(
            StoredConcept(
                id_,
                text,
                int(metadata.get("level", 1)),
                metadata,
                tuple(sorted(node for node, *_ in members)),
                frozenset(node for node, tier, is_alive, _ in members if tier == "cold" and is_alive),
                sum(not is_alive for _, _, is_alive, _ in members),
                bool(is_hidden),
                not says_private(metadata) and any(says_private({PRIVATE: private}) for *_, private in members),
            )
        )
    return concepts


def write_concept(
    connection: apsw.Connection,
    namespace: str,
    concept: Concept,
    vector: np.ndarray,
    members: Mapping[int, float],
    *,
    replaces: int | None = None,
) -> int | None:
    """Store a concept with its edges and return its id; None, and nothing is stored, when a member is gone.

    It is private where a member is.

    Args:
        vector: (native_dim,) float32, unit length, of its text.
        members: ids of what it contains -> weights in [0, 1].
        replaces: the concept that it is a new version of, which keeps its id.
    """
    checked_text(concept.text, "text")
    alive = fetch(
        connection,
        f"SELECT trust, metadata FROM nodes WHERE +namespace = ? AND {IS_ALIVE} "
        "AND id IN (SELECT value FROM json_each(?))",
        (namespace, json.dumps(list(members))),
    )
    if len(alive) != len(members):
        return None
    if any(says_private(json.loads(metadata)) for _, metadata in alive):
        concept = replace(concept, metadata={**concept.metadata, PRIVATE: True})
    trust, now = float(np.mean([row[0] for row in alive])), time.time()
    if replaces is not None and _is_concept(connection, namespace, replaces):
        _rewrite(connection, replaces, concept, vector, trust)
        node = replaces
    else:
        node = insert_node(
            connection,
            concept.text,
            vector,
            type=NodeType.CONCEPT,
            namespace=namespace,
            created=now,
            metadata=concept.metadata,
            trust=trust,
        )
    for member, weight in members.items():
        insert_edge(connection, node, member, EdgeType.CONTAINS, weight=weight, created_by=MADE_BY, now=now)
        insert_edge(connection, node, member, EdgeType.DERIVED, weight=1.0, created_by=MADE_BY, now=now)
    return node


def hide_stale(connection: apsw.Connection, nodes: Sequence[int]) -> list[int]:
    """Let searches not find the concepts that contain those of `nodes` that hold no longer; see `hide_concepts_of`."""
    sql = f"SELECT id FROM nodes WHERE NOT ({IS_ALIVE}) AND id IN (SELECT value FROM json_each(?))"
    return hide_concepts_of(connection, [row[0] for row in fetch(connection, sql, (json.dumps(list(nodes)),))])


def hide_concepts_of(connection: apsw.Connection, nodes: Sequence[int]) -> list[int]:
    """Let searches not find the concepts that contain `nodes`, and so may quote them, nor those made of these.

    The next pass of compression writes them anew. Return the ids of those that were found until now.
    """
    sql = (
        "WITH RECURSIVE above (id) AS (SELECT value FROM json_each(?1) UNION SELECT src FROM above "
        f"CROSS JOIN edges {BY_DST} ON dst = above.id AND edges.type = ?2 AND created_by = ?3) "
        "UPDATE nodes SET trust = 0.0 WHERE type = ?4 AND trust > 0.0 AND id IN above RETURNING id"
    )
    values = (json.dumps(list(nodes)), EdgeType.CONTAINS.value, MADE_BY, NodeType.CONCEPT.value)
    return [row[0] for row in fetch(connection, sql, values)]


def concepts_of_only(connection: apsw.Connection, nodes: Sequence[int]) -> list[int]:
    """Return the concepts that contain nothing but `nodes`, which are about to go, and those made of these alone."""
    sql = (
        "WITH gone (id) AS (SELECT value FROM json_each(?1)), own AS (SELECT src, dst FROM edges "
        "WHERE type = ?2 AND created_by = ?3 AND src IN (SELECT src FROM edges WHERE dst IN gone)) "
        "SELECT src FROM own WHERE src NOT IN gone GROUP BY src HAVING min(dst IN gone)"
    )
    found: list[int] = []
    while more := fetch(connection, sql, (json.dumps([*nodes, *found]), EdgeType.CONTAINS.value, MADE_BY)):
        found += [row[0] for row in more]
    return found


def _rewrite(connection: apsw.Connection, node: int, concept: Concept, vector: np.ndarray, trust: float) -> None:
    """Put a new text, without any members yet, in the place of an old one."""
    stored = json.dumps(dict(concept.metadata), ensure_ascii=False, allow_nan=False)
    connection.execute(
        "UPDATE nodes SET text = ?, metadata = ?, trust = ? WHERE id = ?", (concept.text, stored, trust, node)
    )
    blob = vector.astype("<f4", copy=False).tobytes()
    connection.execute("UPDATE vectors SET vector = ? WHERE node = ?", (blob, node))
    delete_keywords(connection, [node])
    insert_keywords(connection, node, title_of(concept.metadata), concept.text)
    _hand_origins_down(connection, [node])
    connection.execute("DELETE FROM edges WHERE src = ? AND created_by = ?", (node, MADE_BY))


def _hand_origins_down(connection: apsw.Connection, concepts: Sequence[int]) -> None:
    """Let what was derived from concepts, and may repeat their words, be derived from what they were made of.

    `forget` goes by it; walks do not. Of concepts of concepts the uppermost come first.
    """
    connection.executemany(
        "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
        "SELECT shown.src, own.dst, own.type, shown.weight, shown.last_used, shown.created, own.created_by "
        "FROM edges AS own JOIN edges AS shown ON shown.dst = own.src AND shown.type = own.type "
        "WHERE own.src = ? AND own.type = ? AND own.created_by = ? AND shown.src <> own.dst ON CONFLICT DO NOTHING",
        [(concept, EdgeType.DERIVED.value, MADE_BY) for concept in concepts],
    )


def delete_concept(connection: apsw.Connection, namespace: str, node: int) -> Sequence[int]:
    """Delete a concept and those above it that were made of it; return their ids, the concept's first.

    Raises:
        KeyError: there is no such concept.
    """
    if not _is_concept(connection, namespace, node):
        raise KeyError(node)
    above = (
        "WITH RECURSIVE above (id) AS (SELECT ?1 UNION SELECT src FROM above "
        f"CROSS JOIN edges {BY_DST} ON dst = above.id JOIN nodes ON nodes.id = src AND nodes.type = ?2 "
        "WHERE edges.type = ?3) SELECT id FROM above"
    )
    ids = [row[0] for row in fetch(connection, above, (node, NodeType.CONCEPT.value, EdgeType.DERIVED.value))]
    _hand_origins_down(connection, ids[::-1])
    delete_nodes(connection, ids)
    return ids


def _is_concept(connection: apsw.Connection, namespace: str, node: int) -> bool:
    sql = "SELECT 1 FROM nodes WHERE id = ? AND namespace = ? AND type = ?"
    return bool(fetch(connection, sql, (node, namespace, NodeType.CONCEPT.value)))
