"""Documents into memory: read them, cut them, embed them together, commit each by itself."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from ruvllm.config import IngestConfig
from ruvllm.errors import RuvLLMError
from ruvllm.memory.derived import Derived
from ruvllm.memory.gather import FailedItem, FileItem, Item, Sources, TextItem, gather
from ruvllm.memory.history import end_nodes
from ruvllm.memory.readers import SUFFIXES, Document, Unreadable, read_document
from ruvllm.memory.rows import as_unit_rows, checked_text, insert_edge, insert_node
from ruvllm.memory.space import remember_embedder
from ruvllm.memory.store import Store
from ruvllm.text.chunking import Chunk, chunk_blocks, parse_blocks, title_of
from ruvllm.types import DocumentFailure, EdgeType, Embedder, IngestReport, NodeType

__all__ = ["IngestProgress", "Ingester"]

logger = logging.getLogger(__name__)

BATCH_CHUNKS = 256  # texts embedded in one call, across documents
BATCH_DOCUMENTS = 64


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


@dataclass(slots=True)
class _Tally:
    total: int
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failures: list[DocumentFailure] = field(default_factory=list)


class Ingester:
    """Reads documents into one namespace of a store."""

    def __init__(
        self, store: Store, derived: Derived, embedder: Callable[[], Embedder], namespace: str, config: IngestConfig
    ) -> None:
        self._store = store
        self._derived = derived
        self._embedder = embedder
        self._namespace = namespace
        self._config = config

    def ingest(self, sources: Sources, on_progress: Callable[[IngestProgress], None] | None) -> IngestReport:
        """Bring every document of `sources` in; what cannot be read is listed, the rest is stored.

        Each document is one transaction, so a process that dies in between leaves whole documents behind and the next
        run goes on where this one was.
        """
        started = time.perf_counter()
        items = gather(sources)
        tally = _Tally(len(items))
        batch: list[_Prepared] = []
        for item in items:
            prepared = self._prepare(item, tally)
            if prepared is None:
                self._report(tally, item.source, on_progress)
                continue
            batch.append(prepared)
            if len(batch) >= BATCH_DOCUMENTS or sum(len(p.chunks) for p in batch) >= BATCH_CHUNKS:
                self._store_batch(batch, tally, on_progress)
                batch = []
        self._store_batch(batch, tally, on_progress)
        return IngestReport(
            added=tally.added,
            updated=tally.updated,
            unchanged=tally.unchanged,
            chunks=tally.chunks,
            failures=tuple(tally.failures),
            seconds=time.perf_counter() - started,
        )

    def _prepare(self, item: Item, tally: _Tally) -> _Prepared | None:
        """Return the document ready to embed; None, and a line in the tally, when it failed or did not change."""
        try:
            content = _content(item, self._config.max_file_bytes)
        except Exception as error:
            tally.failures.append(_failure(item.source, error))
            return None
        sha256 = hashlib.sha256(content).hexdigest()
        if self._known_sha256(item.source) == sha256:
            tally.unchanged += 1
            return None
        count_tokens = self._embedder().count_tokens
        try:
            document = _document(item, content)
            blocks = parse_blocks(document.text, document.format)
            title = document.title or title_of(blocks) or (item.path.stem if isinstance(item, FileItem) else None)
            _require_storable(title, document.metadata)
            chunks = chunk_blocks(blocks, title=title, count_tokens=count_tokens, max_tokens=self._config.chunk_tokens)
            return _Prepared(item.source, sha256, title, document.metadata, chunks)
        except RuvLLMError:  # the model's trouble, not the document's
            raise
        except Exception as error:
            tally.failures.append(_failure(item.source, error))
            return None

    def _known_sha256(self, source: str) -> str | None:
        """Return the checksum of the document as it is stored; None when it is new or lacks chunks."""
        sql = (
            "SELECT sha256 FROM documents d WHERE namespace = ? AND source = ? "
            "AND chunks = (SELECT count(*) FROM nodes WHERE document = d.id AND ended IS NULL)"
        )
        value: str | None = self._store.value(sql, (self._namespace, source))
        return value

    def _store_batch(
        self, batch: list[_Prepared], tally: _Tally, on_progress: Callable[[IngestProgress], None] | None
    ) -> None:
        texts = [chunk.embedded for prepared in batch for chunk in prepared.chunks]
        vectors = self._embedder().encode(texts) if texts else np.empty((0, 1), np.float32)
        start = 0
        for prepared in batch:
            own = vectors[start : start + len(prepared.chunks)]
            start += len(prepared.chunks)
            try:
                own = as_unit_rows(own, vectors.shape[1], "its embedding")
            except ValueError as error:  # a model that gives no numbers for this text
                tally.failures.append(DocumentFailure(prepared.source, str(error)))
                self._report(tally, prepared.source, on_progress)
                continue
            if self._store_document(prepared, own):
                tally.updated += 1
            else:
                tally.added += 1
            tally.chunks += len(prepared.chunks)
            self._report(tally, prepared.source, on_progress)

    def _store_document(self, prepared: _Prepared, vectors: np.ndarray) -> bool:
        """Commit one document with all that belongs to it; return whether it replaced an older version."""
        embedder, now = self._embedder(), time.time()

        def work(connection: apsw.Connection) -> tuple[list[int], list[int]]:
            remember_embedder(connection, embedder)
            old = _document_nodes(connection, self._namespace, prepared.source)
            end_nodes(connection, old, now)
            document = connection.execute(
                "INSERT INTO documents (namespace, source, title, sha256, chunks, ingested) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (namespace, source) DO UPDATE SET title = excluded.title, sha256 = excluded.sha256, "
                "chunks = excluded.chunks, ingested = excluded.ingested RETURNING id",
                (self._namespace, prepared.source, prepared.title, prepared.sha256, len(prepared.chunks), now),
            ).get
            new = [
                insert_node(
                    connection,
                    chunk.text,
                    vector,
                    type=NodeType.DOCUMENT,
                    namespace=self._namespace,
                    created=now,
                    source=prepared.source,
                    metadata=_chunk_metadata(prepared, chunk),
                    document=document,
                )
                for chunk, vector in zip(prepared.chunks, vectors, strict=True)
            ]
            for src, dst in pairwise(new):
                insert_edge(connection, src, dst, EdgeType.FOLLOWS, weight=0.5, created_by="ingest", now=now)
            return old, new

        def after(ids: tuple[list[int], list[int]]) -> None:
            self._derived.removed(ids[0])
            self._derived.added(ids[1], vectors)

        old, _ = self._store.write(work, after=after)
        return bool(old)

    def _report(self, tally: _Tally, source: str, on_progress: Callable[[IngestProgress], None] | None) -> None:
        tally.done += 1
        if on_progress is not None:
            on_progress(IngestProgress(tally.done, tally.total, tally.chunks, _printable(source)))


def _document_nodes(connection: apsw.Connection, namespace: str, source: str) -> list[int]:
    sql = (
        "SELECT nodes.id FROM nodes JOIN documents d ON d.id = document "
        "WHERE d.namespace = ? AND d.source = ? AND nodes.ended IS NULL"
    )
    return [row[0] for row in connection.execute(sql, (namespace, source))]


def _chunk_metadata(prepared: _Prepared, chunk: Chunk) -> dict[str, Any]:
    metadata = {**prepared.metadata, "position": chunk.position}
    if prepared.title:
        metadata["title"] = prepared.title
    if chunk.heading:
        metadata["heading"] = chunk.heading
    return metadata


def _content(item: Item, max_bytes: int) -> bytes:
    """Return what tells one version of a document from another: a file's bytes, or all that came with a text."""
    if isinstance(item, FailedItem):
        raise Unreadable(item.reason)
    try:
        checked_text(item.source, "its name")
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if isinstance(item, TextItem):
        return json.dumps([item.text, item.title, dict(item.metadata)], sort_keys=True).encode()
    return _read(item.path, max_bytes)


def _document(item: Item, content: bytes) -> Document:
    if isinstance(item, FileItem):
        return read_document(content, item.path.suffix.lower())
    if isinstance(item, TextItem):
        return Document(item.text, "text", item.title, dict(item.metadata))
    raise Unreadable(item.reason)


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
