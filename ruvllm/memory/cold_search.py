"""What is archived, found through the concepts that stand for it: read from disk when a search comes near them."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import apsw
import numpy as np

from ruvllm import kernels
from ruvllm.errors import BrainError
from ruvllm.memory.archive import Archive
from ruvllm.memory.decay import weight_left
from ruvllm.memory.links import EDGE_TYPE_CODES
from ruvllm.memory.names import MAX_WORDS, NameIndex
from ruvllm.memory.rows import MADE_BY
from ruvllm.memory.store import Store, fetch
from ruvllm.text import STOP_WORDS
from ruvllm.types import EdgeType

__all__ = ["ColdSearch", "Guest"]

Guest = tuple[int, str, str, bytes]
"""A node that takes part in one search: id, text, metadata, (native_dim,) float32 vector."""

logger = logging.getLogger(__name__)

PROBED = 2048  # archived nodes of the nearest shelves that one search looks at: some 1.6 MB of disk
MAX_NEAR = 128  # nodes that are reached by links
MAX_FRONT = 64  # nodes whose links are followed further
MAX_WORDS_ASKED = 12  # of a question, the longest ones

_WORD = re.compile(r"[^\W_]+")

IS_COLD = (  # of nodes given by their ids: the plus keeps SQLite from reading the whole namespace
    "+nodes.namespace = ? AND nodes.tier = 'cold' AND nodes.probation = 0 AND nodes.ended IS NULL AND trust > 0.0"
)
AROUND = (  # of a concept what it contains, of other nodes what they are linked to, where anybody may find that
    "SELECT near, other FROM (SELECT src AS near, dst AS other, weight FROM edges "
    "WHERE src IN (SELECT value FROM json_each(?1)) AND ended IS NULL "
    f"AND (created_by <> '{MADE_BY}' OR type = 'Contains') UNION ALL "
    "SELECT dst, src, weight FROM edges "
    f"WHERE dst IN (SELECT value FROM json_each(?1)) AND ended IS NULL AND created_by <> '{MADE_BY}') "
    "CROSS JOIN nodes ON nodes.id = other AND +nodes.namespace = ?2 AND probation = 0 AND nodes.ended IS NULL "
    "AND trust > 0.0 "
    "WHERE near <> other ORDER BY weight DESC, other"
)
FOLLOWED = f"src <> dst AND ended IS NULL AND created_by <> '{MADE_BY}'"


class ColdSearch:
    """The archived nodes of one namespace that have a place on a shelf. In memory are only the shelves' centroids."""

    def __init__(self, store: Store, archive: Archive, namespace: str, half_life_s: Mapping[EdgeType, float]) -> None:
        self._store = store
        self._archive = archive
        self._namespace = namespace
        self._half_life_s = half_life_s
        self._lock = threading.Lock()
        self._shelves: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # concepts, how many nodes, centroids
        self._version = 0  # of the database, as this one last saw it

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(part.nbytes for part in self._shelves or ())

    def reload(self) -> None:
        """Throw the centroids away; the next search reads them again."""
        with self._lock:
            self._shelves = None

    def _load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shelves = self._shelves
        if shelves is not None and not self._store.read_only:
            return shelves
        with self._lock:
            version = self._store.version()
            if self._shelves is None or version != self._version:
                try:
                    self._shelves = self._read()
                except BrainError as error:
                    logger.warning("what is archived is not searched: %s", error)
                    self._shelves = _no_shelves()
                self._version = version
            return self._shelves

    def _read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows: list[tuple[Any, ...]] = []
        if self._archive.file.exists():
            with self._archive.reading() as cold:
                if fetch(cold, "SELECT 1 FROM sqlite_schema WHERE name = 'shelves'"):
                    sql = (
                        "SELECT concept, length(nodes) / 8, centroid FROM shelves WHERE namespace = ? ORDER BY concept"
                    )
                    rows = fetch(cold, sql, (self._namespace,))
        if not rows:
            return _no_shelves()
        concepts, sizes, centroids = zip(*rows, strict=True)
        each = np.stack([np.frombuffer(centroid, np.float32) for centroid in centroids])
        return np.array(concepts, np.int64), np.array(sizes, np.int64), each.astype(np.float16)

    # -- what a search asks ------------------------------------------------------------------------------------------

    def found(
        self, query: str, native: np.ndarray, count: int, condition: tuple[str, Sequence[Any]]
    ) -> tuple[list[Guest], dict[str, list[int]]]:
        """Return the archived nodes nearest to a question, by vectors and by words, and those that it names, by name.

        Args:
            native: (native_dim,) float32, unit length, of the question.
            count: nodes wanted by vectors, and as many by words.
            condition: of `condition_of`, that they pass.
        """
        concepts, sizes, centroids = self._load()
        if not len(concepts):
            return [], {}
        try:
            return self._found(query, native, count, condition, concepts, sizes, centroids)
        except BrainError as error:
            logger.warning("what is archived is not searched: %s", error)
            return [], {}

    def _found(
        self,
        query: str,
        native: np.ndarray,
        count: int,
        condition: tuple[str, Sequence[Any]],
        concepts: np.ndarray,
        sizes: np.ndarray,
        centroids: np.ndarray,
    ) -> tuple[list[Guest], dict[str, list[int]]]:
        near, _ = kernels.exact_search(centroids, native, len(centroids))
        probed = concepts[near[: int(np.searchsorted(np.cumsum(sizes[near]), PROBED)) + 1]]
        with self._archive.reading() as cold:
            sql = "SELECT nodes, vectors FROM shelves WHERE concept IN (SELECT value FROM json_each(?))"
            packs = fetch(cold, sql, (json.dumps(probed.tolist()),))
            wanted = self._nearest(packs, native, count)
            if words := _any_of(query):
                sql = (
                    "SELECT words.rowid FROM words JOIN filed ON node = words.rowid AND namespace = ? "
                    "WHERE words MATCH ? ORDER BY words.rank LIMIT ?"
                )
                wanted += [row[0] for row in fetch(cold, sql, (self._namespace, words, count))]
            named = self._named(query)
            wanted += [node for nodes in named.values() for node in nodes]
            return self._guests(cold, wanted, condition), named

    def _nearest(self, packs: Sequence[tuple[bytes, bytes]], native: np.ndarray, count: int) -> list[int]:
        if not packs:
            return []
        ids = np.frombuffer(b"".join(nodes for nodes, _ in packs), np.int64)
        vectors = np.frombuffer(b"".join(vectors for _, vectors in packs), np.float16).reshape(len(ids), -1)
        rows, _ = kernels.exact_search(vectors, native, min(count, len(ids)))
        return list(ids[rows].tolist())

    def _named(self, query: str) -> dict[str, list[int]]:
        words = re.findall(r"\w+", query.lower())
        spans = {" ".join(words[i : i + n]) for i in range(len(words)) for n in range(1, MAX_WORDS + 1)}
        index = NameIndex()
        index.add(
            self._store.rows(
                "SELECT name, node FROM json_each(?) CROSS JOIN names ON names.namespace = ? AND name = value "
                f"JOIN nodes ON nodes.id = node WHERE {IS_COLD} ORDER BY node",
                (json.dumps(sorted(spans)), self._namespace, self._namespace),
            )
        )
        return index.find(query)

    def around(self, named: Sequence[int], strong: Sequence[int], hops: int, fan_out: int) -> dict[int, int]:
        """Return what is linked to nodes, whether archived or not, and over how many edges, the nearest first.

        Args:
            named: nodes from which up to `hops` edges are followed; from the `strong` ones it is one at most.
            fan_out: heaviest edges of one node that are followed.
        """
        distance = dict.fromkeys([*named, *strong], 0)
        if not len(self._load()[0]):
            return {}
        front, starts = list(distance), set(named)
        for hop in range(1, hops + 1):
            followed: dict[int, list[int]] = {node: [] for node in front}
            for near, other in self._store.rows(AROUND, (json.dumps(front), self._namespace)) if front else ():
                if len(followed[near]) < fan_out:
                    followed[near].append(other)
            front = [node for near in front if hop > 1 or near in starts for node in followed[near]]
            front = [node for node in dict.fromkeys(front) if node not in distance][:MAX_FRONT]
            for node in (node for nodes in followed.values() for node in nodes):
                distance.setdefault(node, hop)
        return dict(islice(((node, hop) for node, hop in distance.items() if hop), MAX_NEAR))

    def guests(self, ids: Iterable[int], condition: tuple[str, Sequence[Any]]) -> list[Guest]:
        """Return those of `ids` that are archived and pass."""
        wanted = list(ids)
        if not wanted:
            return []
        try:
            with self._archive.reading() as cold:
                return self._guests(cold, wanted, condition)
        except BrainError as error:
            logger.warning("what is archived is not searched: %s", error)
            return []

    def _guests(self, cold: apsw.Connection, ids: Iterable[int], condition: tuple[str, Sequence[Any]]) -> list[Guest]:
        given = json.dumps(list(dict.fromkeys(ids)))
        sql = f"SELECT id, metadata FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND {IS_COLD}"
        sql += f" AND {condition[0]}"
        metadata = dict(self._store.rows(sql, (given, self._namespace, *condition[1])))
        sql = "SELECT id, text, vector FROM nodes WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        rows = fetch(cold, sql, (json.dumps(list(metadata)),))
        return [(node, text, metadata[node], vector) for node, text, vector in rows]

    def degrees(self, graph: kernels.Subgraph, guests: Iterable[int]) -> np.ndarray:
        """Return (n, 2) int64, how many edges leave and how many reach each archived node; 0 for the others."""
        degrees = np.zeros((len(graph.ids), 2), np.int64)
        place = {node: i for i, node in enumerate(graph.ids.tolist())}
        given = json.dumps([node for node in guests if node in place])
        for column, end in enumerate(("src", "dst")):
            sql = (
                f"SELECT {end}, count(*) FROM edges WHERE {end} IN (SELECT value FROM json_each(?)) "
                f"GROUP BY {end}"  # by the index alone; a hub has thousands
            )
            for node, count in self._store.rows(sql, (given,)):
                degrees[place[node], column] = count
        return degrees

    def linked(self, graph: kernels.Subgraph, guests: Iterable[int], *, epoch: float) -> kernels.Subgraph:
        """Return the graph with the edges that have an archived end, which are not in memory.

        Args:
            guests: which nodes are archived; those that are not in the graph are passed over.
            epoch: of the graph's times, in unix seconds.
        """
        own = json.dumps(sorted(set(guests) & set(graph.ids.tolist())))
        given = {"own": own, "every": json.dumps(graph.ids.tolist()), "now": time.time()}
        left = weight_left(self._half_life_s)
        rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for end, other in (("src", "dst"), ("dst", "src")):
            sql = (  # the plus keeps SQLite from looking up every pair of both
                f"SELECT src, dst, type, weight * {left}, last_used, success, failure FROM edges WHERE "
                f"{end} IN (SELECT value FROM json_each(:own)) AND +{other} IN (SELECT value FROM json_each(:every)) "
                f"AND {FOLLOWED}"
            )
            rows |= {row[:3]: row for row in self._store.rows(sql, given)}
        return _with_edges(graph, list(rows.values()), epoch) if rows else graph


def _no_shelves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), np.float16)


def _any_of(query: str) -> str:
    """Return the full-text expression for any of the words of a question that say something."""
    words = {word for word in _WORD.findall(query.lower()) if word not in STOP_WORDS}
    return " OR ".join(f'"{word}"' for word in sorted(words, key=lambda w: (-len(w), w))[:MAX_WORDS_ASKED])


def _with_edges(graph: kernels.Subgraph, rows: Sequence[tuple[Any, ...]], epoch: float) -> kernels.Subgraph:
    """Return the graph with more edges, (src, dst, type, weight, last_used, successes, failures), from both ends."""
    place: Mapping[int, int] = {node: i for i, node in enumerate(graph.ids.tolist())}
    ends = np.array([(place[row[0]], place[row[1]]) for row in rows], np.int32)
    types = np.array([EDGE_TYPE_CODES[row[2]] for row in rows], np.uint8)
    weights = np.array([row[3] for row in rows], np.float32)
    last_used = np.array([row[4] - epoch for row in rows], np.float32)
    counts = np.minimum(np.array([row[5:7] for row in rows], np.int64), 65535).astype(np.uint16)
    n, m = len(graph.ids), len(rows)

    def both(known: np.ndarray, out: np.ndarray, back: np.ndarray) -> np.ndarray:
        return np.concatenate([known, out, back])

    source = both(np.repeat(np.arange(n, dtype=np.int32), np.diff(graph.indptr)), ends[:, 0], ends[:, 1])
    columns = {
        "indices": both(graph.indices, ends[:, 1], ends[:, 0]),
        "types": both(graph.types, types, types),
        "weights": both(graph.weights, weights, weights),
        "last_used": both(graph.last_used, last_used, last_used),
        "successes": both(graph.successes, counts[:, 0], counts[:, 0]),
        "failures": both(graph.failures, counts[:, 1], counts[:, 1]),
        "directions": both(graph.directions, np.zeros(m, np.uint8), np.ones(m, np.uint8)),
    }
    order = np.lexsort((columns["types"], columns["directions"], columns["indices"], source))
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=n), out=indptr[1:])
    sorted_columns: dict[str, Any] = {name: np.ascontiguousarray(column[order]) for name, column in columns.items()}
    return replace(graph, indptr=indptr, **sorted_columns)
