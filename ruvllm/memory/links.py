"""The links among one namespace's searched nodes, in memory."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm import kernels
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.history import edges_at
from ruvllm.memory.links_snapshot import LinksUnusable, read_links, state_of_links, write_links
from ruvllm.memory.nearest import SEARCHED_IDS
from ruvllm.memory.rows import MADE_BY, SEARCHED
from ruvllm.memory.store import Store
from ruvllm.types import EdgeType

__all__ = ["EDGE_TYPE_CODES", "EdgeKey", "EdgeRow", "Links"]

logger = logging.getLogger(__name__)

EDGE_TYPE_CODES = {type_.value: code for code, type_ in enumerate(EdgeType)}
"""The number of each edge type in the graph."""

EdgeKey = tuple[int, int, str]
"""src, dst, type."""

EdgeRow = tuple[int, int, str, float, float, int, int, float]
"""src, dst, type, weight, last_used, success, failure, decayed."""

MIN_SAVED = 20_000  # fewer edges are read anew (about 40 ms) rather than saved
READ_NODES = 8192  # ids whose outgoing edges are read from the database at a time
RELOAD_SHARE = 0.1  # of its time that a reading process spends on following another one's writes, at most

EDGE = np.dtype(
    [
        ("src", np.int64),
        ("dst", np.int64),
        ("type", np.uint8),
        ("weight", np.float32),
        ("last_used", np.float64),
        ("success", np.int64),
        ("failure", np.int64),
        ("decayed", np.float64),
    ],
    align=True,
)
EDGE_COLUMNS = "src, dst, edges.type, weight, edges.last_used, success, failure, edges.decayed"
IS_FOLLOWED = f"src <> dst AND edges.ended IS NULL AND created_by <> '{MADE_BY}'"
EDGES_FROM = f"SELECT {EDGE_COLUMNS} FROM edges WHERE src >= ? AND src < ? AND {IS_FOLLOWED}"
SEARCHED_EDGES = (
    f"SELECT {EDGE_COLUMNS} FROM edges "
    f"JOIN nodes AS a ON a.id = src AND a.namespace = ?1 AND {SEARCHED.replace('nodes.', 'a.')} "
    f"JOIN nodes AS b ON b.id = dst AND b.namespace = ?1 AND {SEARCHED.replace('nodes.', 'b.')} "
    f"WHERE {IS_FOLLOWED}"
)


class Links:
    """What `search` asks for the graph. Read at first use; kept in step by `added`, `linked`, `removed` and the like.

    Weights fade with the half-lives given in seconds, types without one never.

    Args:
        file: where they are saved, and read from while the database says the same; None: nowhere.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        half_life_s: Mapping[EdgeType, float] | None = None,
        *,
        file: Path | None = None,
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._half_life_s = np.array([(half_life_s or {}).get(type_, np.inf) for type_ in EdgeType], np.float32)
        self._file = file
        self._is_saved = False  # just as they are
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
                graph = self._saved() or self._read()
                self._graph, self._version = graph, version
                self._reload_at = time.monotonic() + (time.monotonic() - started) / RELOAD_SHARE
            return graph

    def _saved(self) -> kernels.Graph | None:
        self._is_saved = False
        if self._file is None:
            return None
        state = state_of_links(self._store, self._namespace, self._half_life_s)
        try:
            graph = read_links(self._file, state, self._half_life_s)
        except LinksUnusable as reason:
            logger.info("links %s are read anew: %s", self._file, reason)
            return None
        self._is_saved = True
        return graph

    def _read(self) -> kernels.Graph:
        """Return the edges in the database; which of them join searched nodes is found here, joins take longer."""
        ids = np.array([row[0] for row in self._store.rows(SEARCHED_IDS, (self._namespace,))], np.int64)
        is_searched = np.zeros(int(ids.max(initial=0)) + 2, np.bool_)  # an id that is too large finds the last one
        is_searched[ids] = True
        parts = [_edges_of([])]
        for start in range(0, len(is_searched), READ_NODES):
            edges = _edges_of(self._store.rows(EDGES_FROM, (start, start + READ_NODES)))
            ends = np.stack([edges["src"], edges["dst"]])
            parts.append(edges[is_searched.take(ends, mode="clip").all(axis=0)])
        graph = self._empty()
        _add(graph, np.concatenate(parts))
        return graph

    def at(self, moment: float) -> kernels.Graph:
        """Return the edges that held at a past moment, read anew from the database at every call."""
        graph = self._empty()
        _add(graph, _edges_of(edges_at(self._store, self._namespace, moment)))
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
                rows = self._store.rows(f"{SEARCHED_EDGES} AND {which}", (self._namespace, *parameters))
                _add(self._graph, _edges_of(rows))

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
                _add(graph, _edges_of([row for row in rows if _holds(graph, row[:3])]))

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

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with whole_or_thrown_away(self._lock, self._throw_away):
            self._is_saved = False
            yield

    def _throw_away(self) -> None:
        self._graph = None

    def reload(self) -> None:
        """Throw the graph away; the next search reads it again from the database."""
        with self._lock:
            self._throw_away()

    def save(self) -> bool:
        """Save the links when there are enough and the file has others; return whether that was done."""
        if self._file is None or self._store.read_only:
            return False
        with self._store.exclusive(), self._lock:  # no commit that the graph has not heard of
            graph = self._graph
            if graph is None or self._is_saved or graph.num_edges < MIN_SAVED:
                return False
            write_links(self._file, state_of_links(self._store, self._namespace, self._half_life_s), graph)
            self._is_saved = True
            return True


def _edges_of(rows: Sequence[EdgeRow]) -> np.ndarray:
    """Return rows of EDGE_COLUMNS as (n,) EDGE."""
    edges = np.empty(len(rows), EDGE)
    for name, values in zip(EDGE.names or (), zip(*rows, strict=True), strict=False):  # no columns without rows
        edges[name] = [EDGE_TYPE_CODES[type_] for type_ in values] if name == "type" else values
    return edges


def _add(graph: kernels.Graph, edges: np.ndarray) -> None:
    """Add edges, (n,) EDGE, with the nodes they join; one that is known takes the values given."""
    if not len(edges):
        return
    src, dst, types, weights = (np.ascontiguousarray(edges[name]) for name in ("src", "dst", "type", "weight"))
    last_used, decayed = edges["last_used"], edges["decayed"]
    at, before = float(decayed.max()), graph.decayed_at or 0.0
    if at > before:  # the graph has one time of its last decay, the edges have each their own
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
        successes=np.minimum(edges["success"], 65535).astype(np.uint16),
        failures=np.minimum(edges["failure"], 65535).astype(np.uint16),
    )


def _columns(src: Sequence[int], dst: Sequence[int], types: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array(src, np.int64), np.array(dst, np.int64), np.array([EDGE_TYPE_CODES[t] for t in types], np.uint8)


def _holds(graph: kernels.Graph, key: EdgeKey) -> bool:
    src, dst, type_ = key
    return graph.edge(src, dst, EDGE_TYPE_CODES[type_]) is not None
