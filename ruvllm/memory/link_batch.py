"""The links of documents that come in together: all that their texts say is read first, then inserted at once."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import apsw

from ruvllm.config import LinkingConfig
from ruvllm.memory.names import MAX_NODES, NameIndex, names_of, rare_terms, term_hash, words_of
from ruvllm.memory.neighbours import Similar
from ruvllm.memory.rows import BY_DST, SEARCHED
from ruvllm.memory.store import fetch
from ruvllm.memory.who_says import MAX_FOUND, WhoSays
from ruvllm.types import EdgeType

__all__ = ["MAX_SHARED", "SHARED_LINKS", "FoundEdges", "LinkBatch", "NewDocument", "shared_weight"]

NAME_WEIGHT, LINK_WEIGHT = 0.8, 1.0  # of Cites: found by a name, written as a link
CONTAINS_WEIGHT = FOLLOWS_WEIGHT = 0.5
MAX_BACK_LINKS = 64  # older nodes that are looked at for one new source
MAX_SHARED = 6  # nodes that may share a rare name before it stops being one
SHARED_LINKS = 3  # of them that a new node is linked to, the newest
SHARED_WEIGHT = 0.5  # of a name that two nodes share; of one that more share it is less
MAX_LINKS = 64  # written links taken from one text
MAX_HEADINGS = 4096  # nodes of one source among which a heading is looked for

_MARKDOWN_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_NO_SLUG = re.compile(r"[^\w\- ]+")


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to link: where it comes from, and the nodes it becomes, in reading order."""

    source: str
    texts: Sequence[str]
    metadata: Sequence[Mapping[str, Any]]


def shared_weight(num_others: int) -> float:
    """Return the weight of a link by a name that so many other nodes share."""
    return SHARED_WEIGHT / math.log2(2 + num_others)


class FoundEdges:
    """Edges to insert: of two findings of one edge both count, w = 1 - (1 - a)(1 - b)."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, EdgeType], tuple[float, str]] = {}

    def add(self, src: int, dst: int, type: EdgeType, weight: float, by: str) -> None:
        if src != dst:
            before, by = self._found.get((src, dst, type), (0.0, by))
            self._found[src, dst, type] = (1.0 - (1.0 - before) * (1.0 - weight), by)

    def joins(self, a: int, b: int, type: EdgeType) -> bool:
        return (a, b, type) in self._found or (b, a, type) in self._found

    def __len__(self) -> int:
        return len(self._found)

    def insert(self, connection: apsw.Connection, now: float) -> None:
        """Insert the edges, none of which is known yet, whose ends are both there still."""
        there = _still_there(connection, {end for src, dst, _ in self._found for end in (src, dst)})
        connection.executemany(
            "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (src, dst, type.value, weight, now, now, by)
                for (src, dst, type), (weight, by) in self._found.items()
                if src in there and dst in there
            ],
        )


class LinkBatch:
    """What the texts of new documents say. Rows count the nodes of all of them; ~row stands for one without an id.

    Each document is linked to those before it and these to it, so that it does not matter which come in together.
    """

    def __init__(self, namespace: str, config: LinkingConfig, documents: Sequence[NewDocument]) -> None:
        self._namespace = namespace
        self._config = config
        self._sources = [document.source for document in documents]
        self._texts = [text for document in documents for text in document.texts]
        self._metadata = [own for document in documents for own in document.metadata]
        stop = 0
        self._documents = [range(stop, stop := stop + len(document.texts)) for document in documents]
        self._words: list[list[str]] = [[] for _ in self._texts]
        self._called: list[list[str]] = [[] for _ in self._texts]
        self._mentioned: list[list[int]] = [[] for _ in self._texts]  # nodes, one twice that is called by two names
        self._targets = [_targets(self._texts[row], source) for source, rows in self._each() for row in rows]
        self._links = [list({_link_term(target) for target, _ in targets}) for targets in self._targets]
        terms = map(rare_terms, self._texts) if config.shared_names else ([] for _ in self._texts)
        self._terms = [[term_hash(term) for term in each] for each in terms]

    def _each(self) -> Iterable[tuple[str, range]]:
        return zip(self._sources, self._documents, strict=True)

    def look_up(self, names: NameIndex, replaced: Set[int]) -> None:
        """Find what the documents are called, and which of `names` and of each other's they mention.

        Args:
            replaced: nodes that bear their names no longer.
        """
        earlier = NameIndex()
        self._words = [words_of(text) for text in self._texts]
        for rows in self._documents:
            own = NameIndex()
            for row in rows:
                self._called[row] = names_of(self._texts[row], self._metadata[row], is_first=row == rows.start)
                own.add((name, ~row) for name in self._called[row])
            for row in rows:
                found = [names.find(self._words[row], earlier, without=replaced)]
                if len(rows) > 1:
                    found.append(own.find(self._words[row]))
                for name, nodes in (item for each in found for item in each.items()):
                    if name not in self._called[row]:
                        self._mentioned[row] += nodes
            earlier.add((name, ~row) for row in rows for name in self._called[row])

    def insert(
        self, connection: apsw.Connection, ids: Sequence[int], similar: Similar, who_says: WhoSays, now: float
    ) -> None:
        """Insert names, mentions and edges of the nodes, which were just inserted as `ids`, within a transaction."""
        edges = FoundEdges()
        for rows in self._documents:
            self._structure(rows, ids, edges)
        for id, nodes in zip(ids, self._mentioned, strict=True):
            for node in nodes:
                edges.add(id, node if node >= 0 else ids[~node], EdgeType.CITES, NAME_WEIGHT, "name")
        self._cited_by_older(connection, ids, who_says, edges)
        self._written_links(connection, ids, edges)
        self._share_names(connection, ids, edges)
        self._same_topic(connection, ids, similar, edges)
        edges.insert(connection, now)

    def _structure(self, rows: range, ids: Sequence[int], edges: FoundEdges) -> None:
        """Follows: the next node; Contains: the node that opens a section leads to those of the section."""
        opened: list[tuple[tuple[str, ...], int]] = []
        for row in rows:
            node = ids[row]
            if row > rows.start:
                edges.add(ids[row - 1], node, EdgeType.FOLLOWS, FOLLOWS_WEIGHT, "order")
            path = tuple(part for part in str(self._metadata[row].get("heading") or "").split(" > ") if part)
            while opened and (len(opened[-1][0]) > len(path) or path[: len(opened[-1][0])] != opened[-1][0]):
                opened.pop()
            if opened and path and self._config.contains:
                edges.add(opened[-1][1], node, EdgeType.CONTAINS, CONTAINS_WEIGHT, "headings")
            if not opened or opened[-1][0] != path:
                opened.append((path, node))

    def _cited_by_older(
        self, connection: apsw.Connection, ids: Sequence[int], who_says: WhoSays, edges: FoundEdges
    ) -> None:
        """Link the older nodes that mention a new name to the node that bears it, unless too many do."""
        names = list(dict.fromkeys(name for called in self._called for name in called))
        num_bearers = Counter(dict(self._num_bearers(connection, names)))
        stored = who_says.of(connection, [n for n in names if num_bearers[n] < MAX_NODES], ids[0]) if names else {}
        in_batch = self._who_says(list(stored))
        for rows in self._documents:
            called = [(name, ids[row]) for row in rows for name in self._called[row]]
            num_bearers.update(name for name, _ in called)
            for name, node in called:
                if num_bearers[name] <= MAX_NODES:
                    if name in stored:
                        earlier = [ids[row] for row in in_batch[name] if row < rows.start]
                        found = [*stored[name], *earlier][:MAX_FOUND]
                    else:
                        found = who_says.search(connection, name, before=ids[rows.start])
                    for older in found:
                        edges.add(older, node, EdgeType.CITES, NAME_WEIGHT, "name")
        connection.executemany(
            "INSERT INTO names (namespace, name, node) VALUES (?, ?, ?)",
            [(self._namespace, name, id) for id, names in zip(ids, self._called, strict=True) for name in names],
        )

    def _who_says(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Return the rows in which each name stands, ascending."""
        index = NameIndex()
        index.add((name, 0) for name in names)
        found: dict[str, list[int]] = defaultdict(list)
        for row, words in enumerate(self._words):
            for name in index.all_in(words):
                found[name].append(row)
        return found

    def _num_bearers(self, connection: apsw.Connection, names: Iterable[str]) -> list[tuple[Any, ...]]:
        some = "SELECT 1 FROM names WHERE namespace = ? AND name = value LIMIT ?"
        sql = f"SELECT value, (SELECT count(*) FROM ({some})) FROM json_each(?)"
        return fetch(connection, sql, (self._namespace, MAX_NODES + 1, json.dumps(list(names))))

    def _written_links(self, connection: apsw.Connection, ids: Sequence[int], edges: FoundEdges) -> None:
        """Link by what is written as a link: Markdown links and URLs to known sources, from both ends."""
        links = {term for terms in self._links for term in terms}
        headings: dict[str, dict[str, int]] = {}  # of the sources that are linked to
        linked_by = self._who_mentions(connection, links.union(map(_link_term, self._sources)), MAX_BACK_LINKS)
        for source, rows in self._each():
            last = ids[rows[-1]]
            for src in linked_by[_link_term(source)][:MAX_BACK_LINKS]:
                [(text, its_source)] = fetch(connection, "SELECT text, source FROM nodes WHERE id = ?", (src,))
                for slug in (slug for target, slug in _targets(text, its_source) if target == source):
                    for dst in self._linked_nodes(connection, headings, source, slug, last):
                        edges.add(src, dst, EdgeType.CITES, LINK_WEIGHT, "link")
            for row in rows:
                for target, slug in self._targets[row]:
                    for dst in self._linked_nodes(connection, headings, target, slug, last):
                        edges.add(ids[row], dst, EdgeType.CITES, LINK_WEIGHT, "link")
                for term in self._links[row]:
                    linked_by[term].insert(0, ids[row])
        self._insert_mentions(connection, ids, self._links)

    def _linked_nodes(
        self, connection: apsw.Connection, headings: dict[str, dict[str, int]], target: str, slug: str, last: int
    ) -> list[int]:
        """Return the node that a link leads to, of those up to `last`: that of the heading, if one is meant and known,
        else the first."""
        if target not in headings:
            headings[target] = self._headings(connection, target)
        found = headings[target]
        for node in (found.get(slug), found.get("")):
            if node is not None and node <= last:
                return [node]
        return []

    def _headings(self, connection: apsw.Connection, source: str) -> dict[str, int]:
        """Return heading slug -> the first node under it, and under "" the first node of a source."""
        sql = f"SELECT id, metadata FROM nodes WHERE namespace = ? AND source = ? AND {SEARCHED} ORDER BY id LIMIT ?"
        first: dict[str, int] = {}
        for id, metadata in fetch(connection, sql, (self._namespace, source, MAX_HEADINGS)):
            first.setdefault("", id)
            first.setdefault(_slug(str(json.loads(metadata).get("heading") or "").rpartition(" > ")[2]), id)
        return first

    def _share_names(self, connection: apsw.Connection, ids: Sequence[int], edges: FoundEdges) -> None:
        """Link to the newest of the older nodes that mention the same rare name, and remember who mentions it."""
        mentioned_by = self._who_mentions(connection, {t for terms in self._terms for t in terms}, MAX_SHARED + 1)
        for rows in self._documents:
            for row in rows:
                for term in self._terms[row]:
                    others = mentioned_by[term]
                    if len(others) > MAX_SHARED:
                        continue
                    weight = shared_weight(len(others))
                    for other in others[:SHARED_LINKS]:
                        if not edges.joins(ids[row], other, EdgeType.CITES):
                            edges.add(ids[row], other, EdgeType.SHARED_NAME, weight, "shared name")
            for row in rows:
                for term in self._terms[row]:
                    mentioned_by[term].insert(0, ids[row])
        self._insert_mentions(connection, ids, self._terms)

    def _who_mentions(self, connection: apsw.Connection, terms: Iterable[int], limit: int) -> dict[int, list[int]]:
        """Return the nodes stored so far that mention each term, the newest first, at most `limit` of them."""
        newest = "SELECT node FROM mentions WHERE namespace = ? AND term = value ORDER BY node DESC LIMIT ?"
        sql = f"SELECT value, (SELECT json_group_array(node) FROM ({newest})) FROM json_each(?)"
        found = fetch(connection, sql, (self._namespace, limit, json.dumps(list(terms))))
        return {term: json.loads(nodes) for term, nodes in found}

    def _insert_mentions(self, connection: apsw.Connection, ids: Sequence[int], terms: Sequence[list[int]]) -> None:
        rows = [(self._namespace, term, id) for id, each in zip(ids, terms, strict=True) for term in each]
        connection.executemany("INSERT OR IGNORE INTO mentions (namespace, term, node) VALUES (?, ?, ?)", sorted(rows))

    def _same_topic(self, connection: apsw.Connection, ids: Sequence[int], similar: Similar, edges: FoundEdges) -> None:
        """Link to the neighbours that have no nearer ones."""
        near = [[(node if node >= 0 else ids[~node], cosine) for node, cosine in each] for each in similar]
        nodes = {node for each in near for node, _ in each}
        there, cosines = _still_there(connection, nodes), self._topic_cosines(connection, nodes)
        for rows in self._documents:
            mutual = [
                (ids[row], other, cosine)
                for row in rows
                for other, cosine in near[row]
                if other in there and self._is_among_nearest(cosine, cosines[other])
            ]
            for node, other, cosine in mutual:
                edges.add(node, other, EdgeType.SAME_TOPIC, cosine, "similarity")
                cosines[node].append(cosine)
                cosines[other].append(cosine)

    def _topic_cosines(self, connection: apsw.Connection, nodes: Iterable[int]) -> dict[int, list[float]]:
        """Return the cosines of the SameTopic links that nodes have to others that hold."""
        ends = (
            f"SELECT {node} AS node, {other} AS other, weight FROM edges {index} "
            f"WHERE {node} IN (SELECT value FROM json_each(?1)) AND type = ?2 AND created_by = 'similarity'"
            for node, other, index in (("src", "dst", ""), ("dst", "src", BY_DST))
        )
        sql = f"SELECT node, weight FROM ({' UNION ALL '.join(ends)}) JOIN nodes ON id = other AND ended IS NULL"
        found: dict[int, list[float]] = defaultdict(list)
        for node, weight in fetch(connection, sql, (json.dumps(list(nodes)), EdgeType.SAME_TOPIC.value)):
            found[node].append(weight)
        return found

    def _is_among_nearest(self, cosine: float, others: Sequence[float]) -> bool:
        return sum(other >= cosine for other in others) < self._config.neighbours


def _still_there(connection: apsw.Connection, ids: Iterable[int]) -> set[int]:
    """Return those of `ids` that exist and have not ended."""
    sql = "SELECT id FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND ended IS NULL"
    return {id for (id,) in fetch(connection, sql, (json.dumps(list(ids)),))}


def _link_term(source: str) -> int:
    """Return the term that a link to a source is in table `mentions`."""
    return term_hash(f"link:{source}")


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
