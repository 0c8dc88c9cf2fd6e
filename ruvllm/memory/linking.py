"""Linking at ingest: what a new document mentions, who mentions it, what it shares names and topics with."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import apsw

from ruvllm.config import LinkingConfig
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.names import MAX_NODES, NameIndex, names_of, rare_terms, term_hash
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType

__all__ = ["LinkBatch", "Linker", "NewNode"]

NAME_WEIGHT, LINK_WEIGHT = 0.8, 1.0  # of Cites: found by a name, written as a link
CONTAINS_WEIGHT = FOLLOWS_WEIGHT = 0.5
MAX_BACK_LINKS = 64  # older nodes that are searched for one new name
MAX_SHARED = 6  # nodes that may share a rare name before it stops being one
SHARED_LINKS = 3  # of them that a new node is linked to, the newest
SHARED_WEIGHT = 0.5  # of a name that two nodes share; of one that more share it is less
MAX_LINKS = 64  # written links taken from one text

_MARKDOWN_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_NO_SLUG = re.compile(r"[^\w\- ]+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node that was just inserted; `similar` holds (node id, cosine) of its nearest older nodes."""

    id: int
    text: str
    metadata: Mapping[str, Any]
    similar: Sequence[tuple[int, float]] = ()


@dataclass(slots=True)
class LinkBatch:
    """Of the nodes of a batch of documents, by row: names, nodes mentioned that were there before, rows mentioned."""

    called: list[list[str]]
    mentioned: list[dict[str, list[int]]]
    within: list[dict[str, list[int]]]
    ids: dict[int, int] = field(default_factory=dict)  # row -> node, as documents are inserted

    def targets(self, row: int) -> Iterator[tuple[str, int]]:
        """Yield (name, node) of what a row's text mentions, as far as that is inserted."""
        for name, nodes in self.mentioned[row].items():
            yield from ((name, node) for node in nodes)
        for name, rows in self.within[row].items():
            yield from ((name, self.ids[other]) for other in rows if other in self.ids)


class _Edges:
    """Edges to insert: of two findings of one edge both count, w = 1 - (1 - a)(1 - b)."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, EdgeType], tuple[float, str]] = {}

    def add(self, src: int, dst: int, type: EdgeType, weight: float, by: str) -> None:
        if src != dst:
            before, by = self._found.get((src, dst, type), (0.0, by))
            self._found[src, dst, type] = (1.0 - (1.0 - before) * (1.0 - weight), by)

    def joins(self, a: int, b: int, type: EdgeType) -> bool:
        return (a, b, type) in self._found or (b, a, type) in self._found

    def insert(self, connection: apsw.Connection, now: float) -> None:
        """Insert the edges whose ends are both there still; one that exists keeps what outcomes made of it."""
        connection.executemany(
            "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
            "SELECT ?1, ?2, ?3, ?4, ?5, ?5, ?6 WHERE EXISTS (SELECT 1 FROM nodes WHERE id = ?1 AND ended IS NULL) "
            "AND EXISTS (SELECT 1 FROM nodes WHERE id = ?2 AND ended IS NULL) ON CONFLICT (src, dst, type) DO NOTHING",
            [(src, dst, type.value, weight, now, by) for (src, dst, type), (weight, by) in self._found.items()],
        )


class Linker:
    """Links the nodes of one namespace. The names of all nodes are kept in memory, derived from table `names`."""

    def __init__(self, store: Store, namespace: str, config: LinkingConfig) -> None:
        self._store = store
        self._namespace = namespace
        self._config = config
        self._lock = threading.Lock()  # held while names are looked up or brought in step
        self._names: NameIndex | None = None
        self._version = 0  # of the database, as this one last saw it

    # -- names in texts ----------------------------------------------------------------------------------------------

    def mentioned(self, text: str) -> dict[str, list[int]]:
        """Return the names that a text mentions and the nodes that are called so."""
        with self._changing():
            return self._load().find(text)

    def added(self, ids: Iterable[int]) -> None:
        """Take in the names of nodes that were just committed."""
        with self._changing():
            if self._names is not None:
                which = "AND node IN (SELECT value FROM json_each(?))"
                self._names.add(self._rows(which, json.dumps([int(i) for i in ids])))

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that are not searched any more."""
        with self._changing():
            if self._names is not None:
                self._names.remove(ids)

    def reload(self) -> None:
        """Throw the names away; whoever needs them reads them again."""
        with self._lock:
            self._throw_away()

    def _changing(self) -> Any:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._names = None

    def _load(self) -> NameIndex:
        version = self._store.version() if self._names is None or self._store.read_only else self._version
        if self._names is None or version != self._version:
            self._names, self._version = NameIndex(), version
            self._names.add(self._rows(""))
        return self._names

    def _rows(self, which: str, *parameters: Any) -> list[tuple[Any, ...]]:
        sql = f"SELECT name, node FROM names JOIN nodes ON nodes.id = node WHERE names.namespace = ? AND {SEARCHED}"
        return self._store.rows(f"{sql} {which} ORDER BY node", (self._namespace, *parameters))

    # -- links -------------------------------------------------------------------------------------------------------

    def batch(self, nodes: Sequence[tuple[str, Mapping[str, Any]]], first: Sequence[int]) -> LinkBatch:
        """Return what new nodes, (text, metadata), are called and mention; to be asked before the transaction.

        Args:
            first: rows of `nodes` at which a document begins.
        """
        if not self._config.names:
            nothing: list[dict[str, list[int]]] = [{} for _ in nodes]
            return LinkBatch([[] for _ in nodes], nothing, nothing)
        starts = set(first)
        called = [names_of(text, metadata, is_first=row in starts) for row, (text, metadata) in enumerate(nodes)]
        with self._changing():
            index = self._load()
            mentioned = [index.find(text) for text, _ in nodes]
        own = NameIndex()
        own.add((name, row) for row, names in enumerate(called) for name in names)
        return LinkBatch(called, mentioned, [own.find(text) for text, _ in nodes])

    def link(
        self,
        connection: apsw.Connection,
        source: str | None,
        nodes: Sequence[NewNode],
        batch: LinkBatch,
        start: int,
        now: float,
    ) -> None:
        """Insert the names of one document's new nodes and all edges that they give rise to, within a transaction.

        Args:
            source: the document's; None for a node of its own.
            nodes: in reading order.
            start: row of the first of them in the batch, whose documents are linked in their order.
        """
        edges = _Edges()
        self._structure(nodes, edges)
        called = batch.called[start : start + len(nodes)]
        batch.ids.update((start + i, node.id) for i, node in enumerate(nodes))
        self._insert_names(connection, nodes, called)
        for row, node in enumerate(nodes, start):
            for name, target in batch.targets(row):
                if name not in batch.called[row]:
                    edges.add(node.id, target, EdgeType.CITES, NAME_WEIGHT, "name")
        self._cited_by_older(connection, nodes, called, edges)
        self._written_links(connection, source, nodes, edges)
        if self._config.shared_names:
            self._share_names(connection, nodes, edges)
        for node in nodes:
            for other, cosine in node.similar:
                if self._is_mutual(connection, other, cosine):
                    edges.add(node.id, other, EdgeType.SAME_TOPIC, min(cosine, 1.0), "similarity")
        edges.insert(connection, now)

    def _structure(self, nodes: Sequence[NewNode], edges: _Edges) -> None:
        """Follows: the next node; Contains: the node that opens a section leads to those of the section."""
        opened: list[tuple[tuple[str, ...], int]] = []
        for before, node in zip([None, *nodes], nodes, strict=False):
            if before is not None:
                edges.add(before.id, node.id, EdgeType.FOLLOWS, FOLLOWS_WEIGHT, "order")
            path = tuple(part for part in str(node.metadata.get("heading") or "").split(" > ") if part)
            while opened and (len(opened[-1][0]) > len(path) or path[: len(opened[-1][0])] != opened[-1][0]):
                opened.pop()
            if opened and path and self._config.contains:
                edges.add(opened[-1][1], node.id, EdgeType.CONTAINS, CONTAINS_WEIGHT, "headings")
            if not opened or opened[-1][0] != path:
                opened.append((path, node.id))

    def _insert_names(self, connection: apsw.Connection, nodes: Sequence[NewNode], called: Sequence[list[str]]) -> None:
        connection.executemany(
            "INSERT OR IGNORE INTO names (namespace, name, node) VALUES (?, ?, ?)",
            [(self._namespace, name, n.id) for n, names in zip(nodes, called, strict=True) for name in names],
        )

    def _cited_by_older(
        self, connection: apsw.Connection, nodes: Sequence[NewNode], called: Sequence[list[str]], edges: _Edges
    ) -> None:
        """Link the older nodes that mention a new name to the node that bears it."""
        first = min(node.id for node in nodes)
        for node, names in zip(nodes, called, strict=True):
            for name in names:
                if self._count(connection, "names", "name", name) > MAX_NODES:
                    continue
                found = fetch(
                    connection,
                    "SELECT nodes.id, nodes.text FROM keywords CROSS JOIN nodes ON nodes.id = keywords.rowid "
                    f"WHERE keywords MATCH ? AND keywords.rowid < ? AND nodes.namespace = ? AND {SEARCHED} LIMIT ?",
                    (f'body : "{name}"', first, self._namespace, MAX_BACK_LINKS),
                )
                for older, text in found:
                    if f" {name} " in f" {' '.join(_WORD.findall(text.lower()))} ":  # words, not only their stems
                        edges.add(older, node.id, EdgeType.CITES, NAME_WEIGHT, "name")

    def _written_links(
        self, connection: apsw.Connection, source: str | None, nodes: Sequence[NewNode], edges: _Edges
    ) -> None:
        """Link by what is written as a link: Markdown links and URLs to known sources, from both ends."""
        for node in nodes:
            targets = _targets(node.text, source)
            self._insert_mentions(connection, node.id, [f"link:{target}" for target, _ in targets])
            for target, slug in targets:
                for dst in self._linked_nodes(connection, target, slug):
                    edges.add(node.id, dst, EdgeType.CITES, LINK_WEIGHT, "link")
        if source is not None:
            for src in self._who_mentions(connection, f"link:{source}", MAX_BACK_LINKS, before=nodes[0].id):
                [(text, its_source)] = fetch(connection, "SELECT text, source FROM nodes WHERE id = ?", (src,))
                for slug in (slug for target, slug in _targets(text, its_source) if target == source):
                    for dst in self._linked_nodes(connection, source, slug):
                        edges.add(src, dst, EdgeType.CITES, LINK_WEIGHT, "link")

    def _linked_nodes(self, connection: apsw.Connection, target: str, slug: str) -> list[int]:
        """Return the node that a link leads to: that of the heading, if one is meant and known, else the first."""
        sql = f"SELECT id, metadata FROM nodes WHERE namespace = ? AND source = ? AND {SEARCHED} ORDER BY id LIMIT 4096"
        rows = fetch(connection, sql, (self._namespace, target))
        if slug:
            for id, metadata in rows:
                if _slug(str(json.loads(metadata).get("heading") or "").rpartition(" > ")[2]) == slug:
                    return [id]
        return [row[0] for row in rows[:1]]

    def _share_names(self, connection: apsw.Connection, nodes: Sequence[NewNode], edges: _Edges) -> None:
        for node in nodes:
            terms = rare_terms(node.text)
            for term in terms:
                others = self._who_mentions(connection, term, MAX_SHARED + 1, before=nodes[0].id)
                if len(others) > MAX_SHARED:
                    continue
                weight = SHARED_WEIGHT / math.log2(2 + len(others)) if others else 0.0
                for other in others[:SHARED_LINKS]:
                    if not edges.joins(node.id, other, EdgeType.CITES):
                        edges.add(node.id, other, EdgeType.SHARED_NAME, weight, "shared name")
            self._insert_mentions(connection, node.id, terms)

    def _is_mutual(self, connection: apsw.Connection, older: int, cosine: float) -> bool:
        """Return whether a new neighbour is among an older node's nearest, too."""
        own = "(src = ?1 OR dst = ?1) AND edges.type = ?2 AND created_by = 'similarity'"
        held = "JOIN nodes ON nodes.id = src + dst - ?1 AND nodes.ended IS NULL"  # the other end
        weights = fetch(
            connection,
            f"SELECT weight FROM edges {held} WHERE {own} ORDER BY weight DESC LIMIT ?3",
            (older, EdgeType.SAME_TOPIC.value, self._config.neighbours),
        )
        return len(weights) < self._config.neighbours or cosine > weights[-1][0]

    def _insert_mentions(self, connection: apsw.Connection, node: int, terms: Iterable[str]) -> None:
        connection.executemany(
            "INSERT OR IGNORE INTO mentions (namespace, term, node) VALUES (?, ?, ?)",
            [(self._namespace, term_hash(term), node) for term in terms],
        )

    def _who_mentions(self, connection: apsw.Connection, term: str, limit: int, *, before: int) -> list[int]:
        """Return the nodes with ids below `before` that mention a term, the newest first."""
        sql = "SELECT node FROM mentions WHERE namespace = ? AND term = ? AND node < ? ORDER BY node DESC LIMIT ?"
        return [row[0] for row in fetch(connection, sql, (self._namespace, term_hash(term), before, limit))]

    def _count(self, connection: apsw.Connection, table: str, column: str, value: str) -> int:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE namespace = ? AND {column} = ? LIMIT ?)"
        return int(connection.execute(sql, (self._namespace, value, MAX_NODES + 1)).get)


def _targets(text: str, source: str | None) -> list[tuple[str, str]]:
    """Return (source, heading slug) of what a text links to; relative paths are taken from `source`."""
    if "](" not in text and "://" not in text:
        return []
    found: dict[tuple[str, str], None] = {}
    for link in [*_MARKDOWN_LINK.findall(text), *_URL.findall(text)][:MAX_LINKS]:
        try:
            parts = urlsplit(link)
        except ValueError:  # as http://[
            continue
        if parts.scheme in ("http", "https"):
            page, _, fragment = link.rstrip(".,;:!?").partition("#")  # without what ends the sentence
            found[page, fragment] = None
        elif not parts.scheme and (parts.path or parts.fragment) and source is not None:
            path = os.path.normpath(os.path.join(os.path.dirname(source), unquote(parts.path)))
            found[path if parts.path else source, parts.fragment] = None
    return list(found)


def _slug(heading: str) -> str:
    """Return the fragment that Markdown renderers give a heading."""
    return _NO_SLUG.sub("", heading.lower()).strip().replace(" ", "-")
