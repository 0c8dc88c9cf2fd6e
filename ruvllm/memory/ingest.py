"""Documents into memory: read them, cut them, embed them together, commit each by itself."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from ruvllm.config import IngestConfig
from ruvllm.errors import RuvLLMError
from ruvllm.memory.concepts import hide_stale
from ruvllm.memory.derived import Derived
from ruvllm.memory.embedded_text import embedded_text, prefix_of
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.gather import DialogueItem, FailedItem, FileItem, Item, Sources, TextItem, gather
from ruvllm.memory.history import end_nodes
from ruvllm.memory.link_batch import NewDocument
from ruvllm.memory.linking import Linker
from ruvllm.memory.neighbours import Neighbours
from ruvllm.memory.readers import SUFFIXES, Document, Unreadable, read_document
from ruvllm.memory.rows import as_unit_rows, checked_text, insert_nodes
from ruvllm.memory.rows import title_of as title_of_node
from ruvllm.memory.space import remember_embedder
from ruvllm.memory.store import Store, fetch
from ruvllm.memory.who_says import WhoSays
from ruvllm.text.chunking import Chunk, CountTokens, chunk_blocks, parse_blocks, title_of
from ruvllm.types import DocumentFailure, Embedder, IngestReport, NodeType

__all__ = ["IngestProgress", "Ingester"]

logger = logging.getLogger(__name__)

Replaced = tuple[list[tuple[Any, ...]], Sequence[int], Sequence[int]]
"""Rows of NODES_OF from before, the new nodes, and the concepts that may quote the old ones."""

NODES_OF = (  # (source, node) of what documents are so far
    "SELECT d.source, nodes.id FROM json_each(?) CROSS JOIN documents AS d ON d.source = value AND d.namespace = ? "
    "JOIN nodes ON nodes.document = d.id AND nodes.ended IS NULL"
)

BATCH_CHUNKS = 512  # texts committed in one transaction, across documents
BATCH_DOCUMENTS = 512
EMBED_CHUNKS = 64  # texts embedded in one call
COMMIT_S = 5.0  # from one commit to the next where documents or embedder are slow: what an interrupt costs


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far an ingest is; `source` is the document that was finished last."""

    documents_done: int
    documents_total: int
    chunks: int
    source: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that is new or changed, cut but not yet embedded."""

    source: str
    sha256: str
    title: str | None
    metadata: Mapping[str, Any]
    chunks: list[Chunk]
    own: Sequence[Mapping[str, Any]]  # metadata of each chunk

    def embedded(self) -> list[str]:
        """Return what is embedded for each chunk: its text in its context."""
        texts, before = [], ""
        heading: Any = None
        for chunk, own in zip(self.chunks, self.own, strict=True):
            if own.get("heading") != heading:
                before, heading = "", own.get("heading")
            texts.append(embedded_text(chunk.text, own, before, prefix=chunk.prefix))
            before = chunk.text
        return texts


_Embedded = tuple[_Prepared, np.ndarray]
"""A document and the vectors of its chunks."""


@dataclass(slots=True)
class _Tally:
    total: int
    committed: float  # when it last was, by the monotonic clock
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failures: list[DocumentFailure] = field(default_factory=list)

    def is_due(self) -> bool:
        """Return whether the last commit is so long ago that it is time for the next."""
        return time.monotonic() - self.committed >= COMMIT_S


class Ingester:
    """Reads documents into one namespace of a store."""

    def __init__(
        self,
        store: Store,
        derived: Derived,
        linker: Linker,
        neighbours: Neighbours,
        who_says: WhoSays,
        embedder: Callable[[], Embedder],
        namespace: str,
        config: IngestConfig,
    ) -> None:
        self._store = store
        self._derived = derived
        self._linker = linker
        self._neighbours = neighbours
        self._who_says = who_says
        self._embedder = embedder
        self._namespace = namespace
        self._config = config

    def ingest(self, sources: Sources, on_progress: Callable[[IngestProgress], None] | None) -> IngestReport:
        """Bring every document of `sources` in; what cannot be read is listed, the rest is stored.

        Documents are committed whole, a batch at a time or every few seconds: a process that dies in between leaves
        whole documents behind, and the next run goes on where this one was.
        """
        started = time.perf_counter()
        items = gather(sources)
        tally = _Tally(len(items), time.monotonic())
        batch: list[_Prepared] = []
        num_chunks = 0
        known: Mapping[str, str] = {}
        for i, item in enumerate(items):
            if i % BATCH_DOCUMENTS == 0:
                known = self._known(items[i : i + BATCH_DOCUMENTS])
            prepared = self._prepare(item, known.get(item.source), tally)
            if prepared is None:
                self._report(tally, item.source, on_progress)
                continue
            batch.append(prepared)
            num_chunks += len(prepared.chunks)
            if len(batch) >= BATCH_DOCUMENTS or num_chunks >= BATCH_CHUNKS or tally.is_due():
                self._store_batch(batch, tally, on_progress)
                batch, num_chunks = [], 0
        self._store_batch(batch, tally, on_progress)
        return IngestReport(
            added=tally.added,
            updated=tally.updated,
            unchanged=tally.unchanged,
            chunks=tally.chunks,
            failures=tuple(tally.failures),
            seconds=time.perf_counter() - started,
        )

    def _prepare(self, item: Item, known: str | None, tally: _Tally) -> _Prepared | None:
        """Return the document ready to embed; None, and a line in the tally, when it failed or did not change.

        Args:
            known: the checksum of what is stored under its source.
        """
        try:
            content = _content(item, self._config.max_file_bytes)
        except Exception as error:
            tally.failures.append(_failure(item.source, error))
            return None
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 == known:
            tally.unchanged += 1
            return None
        count_tokens = self._embedder().count_tokens
        try:
            if isinstance(item, DialogueItem):
                return _dialogue(item, sha256, count_tokens, self._config.chunk_tokens)
            document = _document(item, content)
            blocks = parse_blocks(document.text, document.format)
            title = document.title or title_of(blocks) or (item.path.stem if isinstance(item, FileItem) else None)
            _require_storable(title, document.metadata)
            chunks = chunk_blocks(blocks, title=title, count_tokens=count_tokens, max_tokens=self._config.chunk_tokens)
            own = [_chunk_metadata(title, document.metadata, chunk) for chunk in chunks]
            return _Prepared(item.source, sha256, title, document.metadata, chunks, own)
        except RuvLLMError:  # the model's trouble, not the document's
            raise
        except Exception as error:
            tally.failures.append(_failure(item.source, error))
            return None

    def _known(self, items: Sequence[Item]) -> Mapping[str, str]:
        """Return the checksums, by source, of the documents that are stored; without those that lack chunks."""
        sql = (
            "SELECT source, sha256 FROM json_each(?2) CROSS JOIN documents AS d ON d.namespace = ?1 AND source = value "
            "WHERE chunks = (SELECT count(*) FROM nodes WHERE document = d.id AND ended IS NULL)"
        )
        sources = json.dumps([_printable(item.source) for item in items])
        return dict(self._store.rows(sql, (self._namespace, sources)))

    @with_one_embedder
    def _store_batch(
        self, batch: list[_Prepared], tally: _Tally, on_progress: Callable[[IngestProgress], None] | None
    ) -> None:
        """Embed documents and commit them in one transaction, or in several where that takes long."""
        sound: list[_Embedded] = []
        for documents in _pieces(batch):
            sound += self._embed(documents, tally, on_progress)
            if tally.is_due():
                self._commit_all(sound, tally, on_progress)
                sound = []
        self._commit_all(sound, tally, on_progress)

    def _embed(
        self, documents: list[_Prepared], tally: _Tally, on_progress: Callable[[IngestProgress], None] | None
    ) -> list[_Embedded]:
        """Embed documents together; those whose embedding is unsound have failed."""
        embedded = [prepared.embedded() for prepared in documents]
        encoded = self._embedder().encode([text for texts in embedded for text in texts])
        stops = np.cumsum([len(texts) for texts in embedded])
        sound: list[_Embedded] = []
        for prepared, vectors in zip(documents, np.split(encoded, stops[:-1]), strict=True):
            try:
                sound.append((prepared, as_unit_rows(vectors, encoded.shape[1], "its embedding")))
            except ValueError as error:  # a model that gives no numbers for this text
                tally.failures.append(DocumentFailure(prepared.source, str(error)))
                self._report(tally, prepared.source, on_progress)
        return sound

    def _commit_all(
        self, sound: list[_Embedded], tally: _Tally, on_progress: Callable[[IngestProgress], None] | None
    ) -> None:
        """Commit embedded documents in one transaction, and tell of each."""
        if not sound:
            return
        replaced = self._commit(sound)
        tally.committed = time.monotonic()
        for prepared, _ in sound:
            if prepared.source in replaced:
                tally.updated += 1
            else:
                tally.added += 1
            tally.chunks += len(prepared.chunks)
            self._report(tally, prepared.source, on_progress)

    def _commit(self, documents: Sequence[_Embedded]) -> Collection[str]:
        """Insert documents and their vectors with all that belongs to them; return the sources that were known."""
        embedder, now = self._embedder(), time.time()
        vectors = np.concatenate([own for _, own in documents])
        known = json.dumps([prepared.source for prepared, _ in documents]), self._namespace
        texts = [NewDocument(p.source, [chunk.text for chunk in p.chunks], p.own) for p, _ in documents]
        replaced = {node for _, node in self._store.rows(NODES_OF, known)}
        links = self._linker.batch(texts, replaced)
        similar = self._neighbours.of_batch(vectors, [len(own) for _, own in documents], replaced)

        def work(connection: apsw.Connection) -> Replaced:
            remember_embedder(connection, embedder)
            old = fetch(connection, NODES_OF, known)
            end_nodes(connection, [node for _, node in old], now)
            new = self._insert(connection, documents, vectors, now)
            links.insert(connection, new, similar, self._who_says, now)
            return old, new, hide_stale(connection, [node for _, node in old]) if old else []

        def after(ids: Replaced) -> None:
            self._derived.removed([node for _, node in ids[0]])
            self._derived.added(ids[1], vectors)
            self._derived.retrusted(ids[2])

        old, *_ = self._store.write(work, after=after)
        return {source for source, _ in old}

    def _insert(
        self, connection: apsw.Connection, documents: Sequence[_Embedded], vectors: np.ndarray, now: float
    ) -> Sequence[int]:
        """Insert documents, or their new versions, and their nodes; return the ids of the nodes."""
        connection.executemany(
            "INSERT INTO documents (namespace, source, title, sha256, chunks, ingested) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (namespace, source) DO UPDATE SET title = excluded.title, sha256 = excluded.sha256, "
            "chunks = excluded.chunks, ingested = excluded.ingested",
            [(self._namespace, p.source, p.title, p.sha256, len(p.chunks), now) for p, _ in documents],
        )
        sources = json.dumps([prepared.source for prepared, _ in documents])
        sql = "SELECT source, id FROM documents WHERE namespace = ? AND source IN (SELECT value FROM json_each(?))"
        number = dict(fetch(connection, sql, (self._namespace, sources)))
        rows = [
            (
                self._namespace,
                NodeType.DOCUMENT.value,
                chunk.text,
                prepared.source,
                json.dumps(own, ensure_ascii=False),
                now,
                now,
                1.0,
                None,
                0,
                number[prepared.source],
            )
            for prepared, _ in documents
            for chunk, own in zip(prepared.chunks, prepared.own, strict=True)
        ]
        titles = [title_of_node(own) for prepared, _ in documents for own in prepared.own]
        return insert_nodes(connection, rows, titles, vectors)

    def _report(self, tally: _Tally, source: str, on_progress: Callable[[IngestProgress], None] | None) -> None:
        tally.done += 1
        if on_progress is not None:
            on_progress(IngestProgress(tally.done, tally.total, tally.chunks, _printable(source)))


def _pieces(batch: list[_Prepared]) -> Iterator[list[_Prepared]]:
    """Yield the documents of a batch, as many at a time as are embedded in one call."""
    piece: list[_Prepared] = []
    num_chunks = 0
    for prepared in batch:
        if piece and num_chunks + len(prepared.chunks) > EMBED_CHUNKS:
            yield piece
            piece, num_chunks = [], 0
        piece.append(prepared)
        num_chunks += len(prepared.chunks)
    if piece:
        yield piece


def _chunk_metadata(title: str | None, metadata: Mapping[str, Any], chunk: Chunk) -> dict[str, Any]:
    placed = {**metadata, "position": chunk.position}
    if title:
        placed["title"] = title
    if chunk.heading:
        placed["heading"] = chunk.heading
    placed.pop("embedded_prefix", None)
    if prefix_of(placed) != chunk.prefix:
        placed["embedded_prefix"] = chunk.prefix
    return placed


def _dialogue(item: DialogueItem, sha256: str, count_tokens: CountTokens, max_tokens: int) -> _Prepared:
    """Return a dialogue with a chunk a turn; a turn that is too long becomes several."""
    chunks: list[Chunk] = []
    own: list[dict[str, Any]] = []
    for turn in item.turns:
        _require_storable(item.title, turn.metadata)
        blocks = parse_blocks(turn.text, "text")
        for part in chunk_blocks(blocks, title=None, count_tokens=count_tokens, max_tokens=max_tokens):
            chunk = replace(part, position=len(chunks))
            chunks.append(chunk)
            own.append(_chunk_metadata(item.title, {**item.metadata, **turn.metadata}, chunk))
    return _Prepared(item.source, sha256, item.title, item.metadata, chunks, own)


def _content(item: Item, max_bytes: int) -> bytes:
    """Return what tells one version of a document from another: a file's bytes, or all that came with a text."""
    if isinstance(item, FailedItem):
        raise Unreadable(item.reason)
    try:
        checked_text(item.source, "its name")
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if isinstance(item, DialogueItem):
        turns = [[turn.text, dict(turn.metadata)] for turn in item.turns]
        return json.dumps([turns, item.title, dict(item.metadata)], sort_keys=True).encode()
    if isinstance(item, TextItem):
        return json.dumps([item.text, item.title, dict(item.metadata)], sort_keys=True).encode()
    return _read(item.path, max_bytes)


def _document(item: Item, content: bytes) -> Document:
    if isinstance(item, FileItem):
        return read_document(content, item.path.suffix.lower())
    if isinstance(item, TextItem):
        return Document(item.text, "text", item.title, dict(item.metadata))
    raise Unreadable(item.reason if isinstance(item, FailedItem) else "it is no single text")


def _require_storable(title: str | None, metadata: Mapping[str, Any]) -> None:
    try:
        json.dumps([title, dict(metadata)], ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"its title or metadata cannot be stored: {error}") from error


def _failure(source: str, error: Exception) -> DocumentFailure:
    """Return the line of the report about a document that failed; what nobody foresaw is logged, too."""
    source = _printable(source)
    if isinstance(error, Unreadable):
        return DocumentFailure(source, str(error))
    if isinstance(error, FileNotFoundError):
        return DocumentFailure(source, "it does not exist (any more)")
    if isinstance(error, OSError):
        return DocumentFailure(source, error.strerror or str(error))
    logger.warning("%s is not ingested: %r", source, error)
    return DocumentFailure(source, f"it cannot be read ({type(error).__name__}: {error})")


def _printable(source: str) -> str:
    """Return a name that can be printed, also of a file whose name is not UTF-8."""
    return source.encode("utf-8", "backslashreplace").decode()


def _read(path: Path, max_bytes: int) -> bytes:
    os.lstat(path)  # says why when there is nothing
    if path.suffix.lower() not in SUFFIXES:
        raise Unreadable(f"{path.suffix or 'a file without a suffix'} is not one of {' '.join(SUFFIXES)}")
    if not path.is_file() and path.exists():
        raise Unreadable("it is not a regular file")
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        content = stream.read(max_bytes + 1) if size <= max_bytes else b""
    if size > max_bytes or len(content) > max_bytes:
        raise Unreadable(f"it is larger than ingest.max_file_bytes ({size} > {max_bytes})")
    return content
