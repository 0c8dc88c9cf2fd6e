"""The nodes and edges of a memory: read, drawn, inserted, strengthened and faded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from ruvllm.errors import BrainError
from ruvllm.memory.arguments import (
    checked_call,
    checked_count,
    checked_each,
    checked_file,
    checked_id,
    checked_member,
    checked_seed,
)
from ruvllm.memory.around import read_around, read_most_linked
from ruvllm.memory.decay import DecayReport, apply_decay, half_lives, weight_left
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.newnodes import insert_new_nodes, link_steps, new_node
from ruvllm.memory.outcomes import Moved, Outcome, apply_outcome, credits_of, named
from ruvllm.memory.rows import (
    EDGE_COLUMNS,
    NODE_COLUMNS,
    checked_text,
    checked_weight,
    edge_of,
    fetch_nodes,
    insert_edge,
    node_of,
)
from ruvllm.memory.space import remember_embedder
from ruvllm.memory.usage import read_co_retrieved
from ruvllm.types import Edge, EdgeType, Neighbourhood, Node, NodeType, Tier

__all__ = ["GraphOfNodes"]

MAX_DRAWN = 500  # nobody reads more, and their places take seconds


class GraphOfNodes(OpenedBrain):
    """What a memory does with single nodes and edges."""

    def get(self, node_id: int) -> Node:
        """Return a node, an archived one with its whole text.

        Raises:
            KeyError: there is none of this id here.
            BrainError: it is archived and the cold file is missing.
        """
        node_id = checked_id(node_id, "node_id")
        rows = self._store.rows(
            f"SELECT {NODE_COLUMNS} FROM nodes WHERE id = ? AND namespace = ?", (node_id, self.namespace)
        )
        if not rows:
            raise KeyError(node_id)
        node = node_of(rows[0])
        if node.tier is Tier.HOT:
            return node
        try:
            return replace(node, text=self._archive.read([node_id])[node_id][0])
        except BrainError:
            if not self._archive.has_let_go_of([node_id]):
                raise
            return self.get(node_id)

    def neighbours(self, node_id: int, type: EdgeType | None = None) -> list[tuple[Edge, Node]]:
        """Return the edges from and to a node, heaviest first, each with the node at its other end.

        Weights are what is left of them now.
        Of an archived node there the text is its beginning.

        Raises:
            KeyError: there is no such node.
        """
        node_id = checked_id(node_id, "node_id")
        kind = None if type is None else checked_member(type, EdgeType, "type").value
        if not self._store.rows("SELECT 1 FROM nodes WHERE id = ? AND namespace = ?", (node_id, self.namespace)):
            raise KeyError(node_id)
        weight = f"edges.weight * {weight_left(half_lives(self.config.learning))}"
        rows = self._store.rows(
            f"SELECT {EDGE_COLUMNS.replace('edges.weight', f'{weight} AS left')} FROM edges "
            "WHERE (src = :node OR dst = :node) AND (:type IS NULL OR type = :type) ORDER BY left DESC, src, dst, type",
            {"node": node_id, "type": kind, "now": time.time()},
        )
        edges = [edge_of(row) for row in rows]
        ends = [edge.dst if edge.src == node_id else edge.src for edge in edges]
        nodes = fetch_nodes(self._store, ends)
        return [(edge, nodes[end]) for edge, end in zip(edges, ends, strict=True) if end in nodes]

    def neighbourhood(self, around: int | None = None, *, hops: int = 2, max_nodes: int = 60) -> Neighbourhood:
        """Return a node with what is linked to it, nearest and heaviest first, or the most linked nodes.

        Args:
            around: a node's id; the whole namespace when None.
            hops: edges from `around` to the farthest node, whichever way they point.
            max_nodes: 1 to 500.

        Raises:
            KeyError: there is no such node.
            ValueError: `hops` or `max_nodes` is out of range.
        """
        hops = checked_count(hops, "hops")
        if checked_count(max_nodes, "max_nodes") > MAX_DRAWN:
            raise ValueError(f"max_nodes must be <= {MAX_DRAWN} ({max_nodes})")
        if around is None:
            return read_most_linked(self._store, self.namespace, max_nodes)
        around = self.get(checked_id(around, "around")).id
        return read_around(self._store, self.namespace, around, min(hops, max_nodes), max_nodes)

    def picture(
        self, file: str | Path, *, around: int | None = None, hops: int = 2, max_nodes: int = 60, seed: int = 0
    ) -> Path:
        """Draw a `neighbourhood` as SVG into `file` and return its path; the same `seed` gives the same places.

        Raises:
            KeyError: there is no such node.
            ValueError, OSError: `file` does not end in .svg, or cannot be written.
        """
        from ruvllm import viz

        file, seed = checked_file(file, "file"), checked_seed(seed)
        return viz.picture(self.neighbourhood(around, hops=hops, max_nodes=max_nodes), file, seed=seed)

    def insert_node(
        self,
        text: str,
        *,
        type: NodeType = NodeType.FACT,
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        trust: float = 1.0,
    ) -> int:
        """Store a node and return its id; durable on return.

        A near-duplicate of the same type (cosine >= 0.95 and MinHash Jaccard >= 0.8) is not stored again: its id comes
        back and its use_count grows.

        Raises:
            TypeError, ValueError: the text is empty, the trust is not in [0, 1], or the metadata is not JSON.
        """
        checked_text(text, "text")
        return self.insert_nodes([{"text": text, "metadata": metadata, "trust": trust}], type=type, source=source)[0]

    @with_one_embedder
    def insert_nodes(
        self,
        nodes: Iterable[str | Mapping[str, Any]],
        *,
        type: NodeType = NodeType.FACT,
        source: str | None = None,
    ) -> list[int]:
        """Store nodes in one transaction and return their ids; see `insert_node`. All or none, durable on return.

        Nodes of type AgentStep are the steps of one run, in order: each gets an edge to the next, and the last step of
        the same `source` so far one to the first.

        Args:
            nodes: texts, or mappings with text and perhaps metadata and trust.

        Raises:
            TypeError, ValueError: a text is empty, a trust is not in [0, 1], or a metadata is not JSON.
        """
        self.require_writable()
        new = [new_node(node) for node in checked_each(nodes, "nodes", "texts or mappings")]
        type = checked_member(type, NodeType, "type")
        if source is not None:
            checked_text(source, "source")
        if not new:
            return []
        vectors = self.encode([node.text for node in new])
        embedder = self._embedder()

        def work(connection: apsw.Connection) -> list[tuple[int, bool]]:
            remember_embedder(connection, embedder)
            stored = insert_new_nodes(connection, self._duplicates, new, vectors, type, self.namespace, source)
            if type is NodeType.AGENT_STEP:
                link_steps(connection, stored, self.namespace, source)
            return stored

        def after(stored: list[tuple[int, bool]]) -> None:
            is_new = np.array([fresh for _, fresh in stored])
            if is_new.any():
                ids = [node_id for node_id, fresh in stored if fresh]
                self._derived.added(ids, vectors[is_new], are_linked=type is NodeType.AGENT_STEP)

        return [node_id for node_id, _ in self._store.write(work, after=after)]

    def insert_edge(self, src: int, dst: int, type: EdgeType, weight: float = 0.5, created_by: str = "user") -> None:
        """Link two nodes; an edge of this type between them takes the new weight. Durable on return.

        A node may be linked to itself: `neighbours` says so, and nothing else follows such an edge.

        Raises:
            TypeError, ValueError: a node does not exist, or the weight is not in [0, 1].
        """
        self.require_writable()
        src, dst, type = checked_id(src, "src"), checked_id(dst, "dst"), checked_member(type, EdgeType, "type")
        weight, created_by, now = checked_weight(weight), checked_text(created_by, "created_by"), time.time()

        def work(connection: apsw.Connection) -> None:
            for name, node_id in (("src", src), ("dst", dst)):
                known = connection.execute(
                    "SELECT 1 FROM nodes WHERE id = ? AND namespace = ?", (node_id, self.namespace)
                ).get
                if known is None:
                    raise ValueError(f"{name}: there is no node {node_id!r}")
            connection.execute(  # what outcomes did is no part of a new weight
                "DELETE FROM edge_moves WHERE src = ? AND dst = ? AND type = ?", (src, dst, type.value)
            )
            insert_edge(connection, src, dst, type, weight=weight, created_by=created_by, now=now)

        self._store.write(work, after=lambda _: self._links.linked(src, dst))

    def apply_outcome(
        self,
        nodes: Iterable[int],
        quality: float,
        success: bool | None = None,
        *,
        credits: Mapping[int, float] | None = None,
        rater: str = "local",
        id: str | None = None,
    ) -> int:
        """Strengthen every edge among `nodes` after a good outcome, weaken it after a bad one; durable on return.

        With a = 2 eta |quality - 1/2| credit, a weight w becomes w + a (1 - w) when the outcome is good (quality >= 1/2
        and success is not False), w - a w when it is bad (quality < 1/2 and success is not True); else nothing moves.

        Args:
            nodes: ids of what was used together.
            quality: in [0, 1].
            success: whether the task succeeded, None when unknown.
            credits: node id -> its part in the outcome, in [0, 1]; 1 for nodes not named. An edge has the smaller one
                of its two ends.
            rater: who says so; one rater moves one edge by at most `learning.max_move_per_day` in a UTC day.
            id: under the same id a later outcome replaces the earlier one.

        Returns:
            how many edges moved.

        Raises:
            TypeError, ValueError: a number out of range, fewer than two nodes, or one that is unknown or archived.
        """
        self.require_writable()
        outcome, parts = Outcome(quality, success), credits_of(nodes, credits)
        name, rater, now = named(id), checked_text(rater, "rater"), time.time()

        def work(connection: apsw.Connection) -> Moved:
            return apply_outcome(
                connection, self.namespace, name, outcome, parts, rater=rater, config=self.config.learning, now=now
            )

        return self._store.write(work, after=lambda moved: self._links.reweighted(moved.edges)).count

    def apply_decay(
        self,
        rate: float | None = None,
        min_interactions: int = 5,
        floor: float = 0.05,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> DecayReport:
        """Make permanent what faded from all edges of the brain since their last use, and prune; as often as you like.

        Of the pairs of nodes that searches found together (`co_retrieved`), the million counted most are kept.

        Args:
            rate: share of a weight lost per day, in [0, 1), for edges of every type; their configured half-lives when
                None.
            min_interactions: edges with fewer outcomes than this are not pruned.
            floor: only edges whose weight is below it are pruned, and never those that say where something came from
                or belongs (Derived, Contains, Follows).
            cancelled: asked every few thousand edges; True ends the pass, and the next one does the rest.
        """
        self.require_writable()
        return apply_decay(
            self._store,
            self._links,
            self.config.learning,
            rate=rate,
            min_interactions=min_interactions,
            floor=floor,
            cancelled=checked_call(cancelled, "cancelled"),
        )

    def co_retrieved(self, node_id: int, k: int = 10) -> list[tuple[Node, int]]:
        """Return the nodes that searches found most often together with a node, each with how often.

        What was counted in the last `store.flush_interval_s` may not be among it; `flush` brings it in.

        Raises:
            KeyError: there is no such node.
        """
        node_id = self.get(node_id).id
        return read_co_retrieved(self._store, node_id, checked_count(k, "k"))
