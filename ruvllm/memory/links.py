"""The links among one namespace's searched nodes, in memory: what a search finds spreads along them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ruvllm import kernels
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store
from ruvllm.types import EdgeType

__all__ = ["EDGE_TYPE_CODES", "Links"]

EDGE_TYPE_CODES = {type_.value: code for code, type_ in enumerate(EdgeType)}
"""The number of each edge type in the graph."""

# Recall@5 / @10 of supporting passages linked by title mentions of weight 0.5: 2Wiki 0.67 / 0.72 without links,
# 0.70 / 0.85 with; HotpotQA 0.78 / 0.87 and 0.80 / 0.94. More damping or less staying finds more second passages and
# puts fewer first ones first: 0.5 and 0.25 give 0.75 / 0.90, but recall@1 falls from 0.40 to 0.36.
DAMPING = 0.4
STAY_WEIGHT = 0.5  # of an edge from each node to itself: weak links move little
HOPS, MAX_NODES, FAN_OUT = 2, 512, 16

RELOAD_SHARE = 0.1  # of its time that a reading process spends on following another one's writes, at most

SEARCHED_EDGES = (
    "SELECT src, dst, edges.type, weight, edges.last_used, success, failure FROM edges "
    f"JOIN nodes AS a ON a.id = src AND a.namespace = ?1 AND {SEARCHED.replace('nodes.', 'a.')} "
    f"JOIN nodes AS b ON b.id = dst AND b.namespace = ?1 AND {SEARCHED.replace('nodes.', 'b.')} "
    "WHERE src <> dst AND edges.ended IS NULL"
)


class Links:
    """What `search` asks for the graph. Read at first use; kept in step by `added`, `linked` and `removed`."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._lock = threading.Lock()  # held while the graph is brought in step
        self._graph: kernels.Graph | None = None
        self._version = 0  # of the database, as this one last saw it
        self._reload_at = 0.0  # by the monotonic clock; not before

    # -- keeping in step ---------------------------------------------------------------------------------------------

    def load(self) -> kernels.Graph:
        """Read all edges once, and again after another process's writes when this one only reads."""
        graph = self._graph
        if graph is not None and not self._store.read_only:
            return graph
        with self._lock:
            graph, started = self._graph, time.monotonic()
            if graph is not None and started < self._reload_at:
                return graph
            version = self._store.version()
            if graph is None or version != self._version:
                graph = kernels.Graph(num_types=len(EDGE_TYPE_CODES), epoch=time.time())
                _add(graph, self._store.rows(SEARCHED_EDGES, (self._namespace,)))
                self._graph, self._version = graph, version
                self._reload_at = time.monotonic() + (time.monotonic() - started) / RELOAD_SHARE
            return graph

    def added(self, ids: Iterable[int]) -> None:
        """Take in the edges of nodes that were just committed."""
        nodes = json.dumps([int(i) for i in ids])
        for end in ("src", "dst"):  # each by its index
            self._take(f"{end} IN (SELECT value FROM json_each(?2))", nodes)

    def linked(self, src: int, dst: int) -> None:
        """Take in the edges from one node to another, just committed."""
        self._take("src = ?2 AND dst = ?3", src, dst)

    def _take(self, which: str, *parameters: Any) -> None:
        with self._changing():
            if self._graph is not None:  # else whoever loads will find them in the database
                _add(self._graph, self._store.rows(f"{SEARCHED_EDGES} AND {which}", (self._namespace, *parameters)))

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that were just deleted, with their edges."""
        with self._changing():
            if self._graph is not None:
                gone = np.unique(np.fromiter(ids, np.int64))
                self._graph.remove_nodes(gone[self._graph.has_nodes(gone)])

    def _changing(self) -> AbstractContextManager[None]:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._graph = None

    def reload(self) -> None:
        """Throw the graph away; the next search reads it again from the database."""
        with self._lock:
            self._throw_away()

    # -- search ------------------------------------------------------------------------------------------------------

    def spread(self, scores: Mapping[int, float]) -> dict[int, float]:
        """Return what becomes of `scores` (node id -> share) when nodes pass a part on to those they are linked to.

        Nodes around the given ones get a score, too; the sum stays what it was, and a node without links keeps its own.
        Personalised PageRank (Haveliwala 2002) restarted at `scores`, over at most MAX_NODES nodes within HOPS.
        """
        seeds = np.array([i for i, score in scores.items() if score > 0.0], np.int64)
        around = self.load().expand(seeds, hops=HOPS, max_nodes=MAX_NODES, fan_out=FAN_OUT)
        if not len(around.indices):
            return dict(scores)
        n = len(around.ids)
        restart = np.array([scores.get(i, 0.0) for i in around.ids.tolist()], np.float32)
        ranks, _ = kernels.pagerank(
            around.indptr + np.arange(n + 1),
            np.insert(around.indices, around.indptr[1:], np.arange(n, dtype=np.int32)),
            np.insert(around.weights, around.indptr[1:], np.float32(STAY_WEIGHT)),
            restart,
            damping=DAMPING,
        )
        return dict(scores) | dict(zip(around.ids.tolist(), (ranks * restart.sum()).tolist(), strict=True))


def _add(graph: kernels.Graph, rows: list[tuple[int, int, str, float, float, int, int]]) -> None:
    """Add rows of SEARCHED_EDGES with the nodes they join; an edge that is known takes the row's values."""
    if not rows:
        return
    src, dst, types, weights, last_used, successes, failures = zip(*rows, strict=True)
    ends = np.array([src, dst], np.int64)
    graph.add_nodes(np.unique(ends))
    graph.add_edges(
        ends[0],
        ends[1],
        np.array([EDGE_TYPE_CODES[type_] for type_ in types], np.uint8),
        np.array(weights, np.float32),
        (np.array(last_used) - graph.epoch).astype(np.float32),
        successes=np.minimum(successes, 65535).astype(np.uint16),
        failures=np.minimum(failures, 65535).astype(np.uint16),
    )
