"""The links among one namespace's searched nodes, in memory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ruvllm import kernels
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.history import edges_at
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store
from ruvllm.types import EdgeType

__all__ = ["EDGE_TYPE_CODES", "EdgeKey", "EdgeRow", "Links"]

EDGE_TYPE_CODES = {type_.value: code for code, type_ in enumerate(EdgeType)}
"""The number of each edge type in the graph."""

EdgeKey = tuple[int, int, str]
"""src, dst, type."""

EdgeRow = tuple[int, int, str, float, float, int, int, float]
"""src, dst, type, weight, last_used, success, failure, decayed."""

RELOAD_SHARE = 0.1  # of its time that a reading process spends on following another one's writes, at most

SEARCHED_EDGES = (
    "SELECT src, dst, edges.type, weight, edges.last_used, success, failure, edges.decayed FROM edges "
    f"JOIN nodes AS a ON a.id = src AND a.namespace = ?1 AND {SEARCHED.replace('nodes.', 'a.')} "
    f"JOIN nodes AS b ON b.id = dst AND b.namespace = ?1 AND {SEARCHED.replace('nodes.', 'b.')} "
    "WHERE src <> dst AND edges.ended IS NULL"
)


class Links:
    """What `search` asks for the graph. Read at first use; kept in step by `added`, `linked`, `removed` and the like.

    Weights fade with the half-lives given in seconds, types without one never.
    """

    def __init__(self, store: Store, namespace: str, half_life_s: Mapping[EdgeType, float] | None = None) -> None:
        self._store = store
        self._namespace = namespace
        self._half_life_s = np.array([(half_life_s or {}).get(type_, np.inf) for type_ in EdgeType], np.float32)
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
                graph = self._empty()
                _add(graph, self._store.rows(SEARCHED_EDGES, (self._namespace,)))
                self._graph, self._version = graph, version
                self._reload_at = time.monotonic() + (time.monotonic() - started) / RELOAD_SHARE
            return graph

    def at(self, moment: float) -> kernels.Graph:
        """Return the edges that held at a past moment, read anew from the database at every call."""
        graph = self._empty()
        _add(graph, edges_at(self._store, self._namespace, moment))
        return graph

    def _empty(self) -> kernels.Graph:
        return kernels.Graph(num_types=len(EDGE_TYPE_CODES), half_life_s=self._half_life_s, epoch=time.time())

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

    def reweighted(self, rows: Sequence[EdgeRow]) -> None:
        """Take in what an outcome that was just committed made of edges; those not among searched nodes are skipped."""
        with self._changing():
            graph = self._graph
            if graph is not None:
                _add(graph, [row for row in rows if _holds(graph, row[:3])])

    def pruned(self, keys: Sequence[EdgeKey]) -> None:
        """Forget edges that were just deleted."""
        with self._changing():
            graph = self._graph
            if graph is not None and (known := [key for key in keys if _holds(graph, key)]):
                graph.remove_edges(*_columns(*zip(*known, strict=True)))

    def decayed(self, now: float) -> None:
        """Bring all weights to `now`, as the database just did."""
        with self._changing():
            if self._graph is not None:
                self._graph.decay(now)

    def _changing(self) -> AbstractContextManager[None]:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._graph = None

    def reload(self) -> None:
        """Throw the graph away; the next search reads it again from the database."""
        with self._lock:
            self._throw_away()


def _add(graph: kernels.Graph, rows: Sequence[EdgeRow]) -> None:
    """Add rows of SEARCHED_EDGES with the nodes they join; an edge that is known takes the row's values."""
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    src, dst, types = _columns(*columns[:3])
    weights = np.array(columns[3], np.float32)
    last_used, decayed = np.array(columns[4]), np.array(columns[7])
    at, before = float(decayed.max()), graph.decayed_at or 0.0
    if at > before:  # the graph has one time of its last decay, the rows have each their own
        graph.decay(at)
    if at := max(at, before):
        as_of = (np.maximum(last_used, decayed) - graph.epoch).astype(np.float32)
        kernels.edge_decay(weights, as_of, now=at - graph.epoch, half_life_s=graph.half_life_s, types=types)
    graph.add_nodes(np.unique(np.concatenate([src, dst])))
    graph.add_edges(
        src,
        dst,
        types,
        weights,
        (last_used - graph.epoch).astype(np.float32),
        successes=np.minimum(columns[5], 65535).astype(np.uint16),
        failures=np.minimum(columns[6], 65535).astype(np.uint16),
    )


def _columns(src: Sequence[int], dst: Sequence[int], types: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array(src, np.int64), np.array(dst, np.int64), np.array([EDGE_TYPE_CODES[t] for t in types], np.uint8)


def _holds(graph: kernels.Graph, key: EdgeKey) -> bool:
    src, dst, type_ = key
    return graph.edge(src, dst, EDGE_TYPE_CODES[type_]) is not None
