"""Does everything agree: database, vectors, keywords, index, files; and mending what can be derived again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw
import numpy as np

from ruvllm.config import IndexConfig
from ruvllm.errors import BrainError
from ruvllm.memory.archive import Archive
from ruvllm.memory.embedded_text import embedded_texts
from ruvllm.memory.index import IndexUnusable, verify_saved
from ruvllm.memory.keywords import Keywords, SnapshotUnusable, read_snapshot, snapshot_path
from ruvllm.memory.nearest import Nearest, index_base
from ruvllm.memory.rows import are_unit, title_of, vector_of
from ruvllm.memory.store import Store

__all__ = ["CheckReport", "Finding", "Severity", "run_check"]

Severity = Literal["warning", "error"]
READ_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree. A warning costs nothing but time; an error is lost or wrong content."""

    what: str
    severity: Severity
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check looked at and found."""

    findings: tuple[Finding, ...]
    nodes: int
    edges: int

    @property
    def ok(self) -> bool:
        """Whether nothing is left to mend."""
        return all(finding.repaired for finding in self.findings)


def run_check(
    store: Store,
    nearest: Nearest,
    keywords: Keywords,
    archive: Archive,
    brain: Path,
    *,
    space: tuple[int, str] | None,
    index_config: IndexConfig,
    namespace: str,
    encode: Callable[[list[str]], np.ndarray] | None,
) -> CheckReport:
    """Look at everything; mend when `encode`, which embeds texts whose vector is lost, is given."""
    check = _Check(store, nearest, keywords, encode)
    check.database()
    check.vectors()
    check.keywords()
    check.documents()
    check.archive(archive)
    check.index(index_base(brain, namespace), space, index_config)
    check.snapshot(snapshot_path(brain, namespace))
    check.stale_files(brain)
    return CheckReport(
        tuple(check.findings),
        nodes=store.value("SELECT count(*) FROM nodes"),
        edges=store.value("SELECT count(*) FROM edges"),
    )


class _Check:
    def __init__(
        self,
        store: Store,
        nearest: Nearest,
        keywords: Keywords,
        encode: Callable[[list[str]], np.ndarray] | None,
    ) -> None:
        self.findings: list[Finding] = []
        self._store = store
        self._nearest = nearest
        self._keywords = keywords
        self._encode = encode

    def _found(self, what: str, severity: Severity, mend: Callable[[], object] | None = None) -> None:
        repaired = mend is not None and self._encode is not None
        if mend is not None and repaired:
            mend()
        self.findings.append(Finding(what, severity, repaired))

    def database(self) -> None:
        for message in self._store.integrity():
            self._found(f"database: {message}", "error")
        dangling = self._store.rows("PRAGMA foreign_key_check")
        edges = sum(row[0] == "edges" for row in dangling)
        if edges:
            self._found(f"{edges} edges lead to nodes that do not exist", "error", self._delete_dangling_edges)
        if len(dangling) > edges:
            self._found(f"{len(dangling) - edges} rows refer to rows that do not exist", "error")

    def _delete_dangling_edges(self) -> None:
        nowhere = "src NOT IN (SELECT id FROM nodes) OR dst NOT IN (SELECT id FROM nodes)"
        self._store.write(lambda connection: connection.execute(f"DELETE FROM edges WHERE {nowhere}").fetchall())

    def vectors(self) -> None:
        native_dim = int(self._store.value("SELECT value FROM meta WHERE key = 'native_dim'") or 0)
        wrong: list[int] = []
        missing = 0
        last = 0
        while rows := self._store.rows(
            "SELECT id, vector FROM nodes LEFT JOIN vectors ON node = id WHERE id > ? AND tier = 'hot' "
            "ORDER BY id LIMIT ?",
            (last, READ_ROWS),
        ):
            last = rows[-1][0]
            for node_id, blob in rows:
                if blob is None or not _is_sound(blob, native_dim):
                    wrong.append(node_id)
                    missing += blob is None
        if wrong:
            what = f"{len(wrong)} nodes have no sound vector ({missing} have none), first {wrong[0]}"
            self._found(what, "error", lambda: self._embed_again(wrong))

    def _embed_again(self, ids: Sequence[int]) -> None:
        if self._encode is None:
            return
        texts = embedded_texts(self._store.rows, ids)
        vectors = self._encode(list(texts.values()))

        def work(connection: apsw.Connection) -> None:
            for node_id, vector in zip(texts, vectors, strict=True):
                blob = vector.astype("<f4").tobytes()
                connection.execute("INSERT OR REPLACE INTO vectors (node, vector) VALUES (?, ?)", (node_id, blob))

        self._store.write(work)
        self._nearest.reload()

    def keywords(self) -> None:
        held = "SELECT id FROM nodes WHERE tier = 'hot' AND ended IS NULL"
        missing = self._store.rows(f"{held} EXCEPT SELECT rowid FROM keywords")
        extra = self._store.rows(f"SELECT rowid FROM keywords EXCEPT {held}")
        if missing:
            self._found(f"{len(missing)} nodes are not found by keywords", "error", lambda: self._add_keywords(missing))
        if extra:
            what = f"{len(extra)} keyword rows belong to nodes that do not exist"
            self._found(what, "warning", lambda: self._delete_keywords(extra))

    def _add_keywords(self, ids: list[tuple[int]]) -> None:
        def work(connection: apsw.Connection) -> None:
            for (node_id,) in ids:
                for text, metadata in connection.execute("SELECT text, metadata FROM nodes WHERE id = ?", (node_id,)):
                    title = title_of(json.loads(metadata))
                    connection.execute(
                        "INSERT INTO keywords (rowid, title, body) VALUES (?, ?, ?)", (node_id, title, text)
                    )

        self._store.write(work)

    def _delete_keywords(self, ids: list[tuple[int]]) -> None:
        self._store.write(lambda connection: connection.executemany("DELETE FROM keywords WHERE rowid = ?", ids))

    def documents(self) -> None:
        rows = self._store.rows(
            "SELECT d.source, d.chunks, count(nodes.id) FROM documents d LEFT JOIN nodes ON nodes.document = d.id "
            "AND nodes.ended IS NULL GROUP BY d.id HAVING d.chunks <> count(nodes.id)"
        )
        for source, chunks, found in rows:
            self._found(f"{source} should have {chunks} chunks and has {found}; ingest it again", "error")

    def archive(self, archive: Archive) -> None:
        try:
            lost, surplus = archive.lost(), archive.surplus()
        except BrainError as error:
            self._found(f"archive: {error}", "error")
            return
        if lost:
            reason = "lacks them" if archive.file.exists() else "is missing"
            what = (
                f"{len(lost)} archived nodes have lost their text, first {lost[0]}: {archive.file} {reason}; restore it"
            )
            self._found(what, "error")
        if surplus:
            self._found(f"{len(surplus)} nodes in {archive.file} are not archived", "warning", archive.tidy)

    def index(self, base: Path, space: tuple[int, str] | None, config: IndexConfig) -> None:
        saved = base.with_name(base.name + ".hnsw").exists() or base.with_name(base.name + ".json").exists()
        if not saved or space is None:
            return
        try:
            verify_saved(base, dim=space[0], embedder_id=space[1], config=config)
        except IndexUnusable as reason:
            what = f"index {base.name}: {reason}; search is exact until it is built anew"
            self._found(what, "warning", self._nearest.rebuild)

    def snapshot(self, file: Path) -> None:
        if not file.exists():
            return
        try:
            read_snapshot(self._store, file)
        except SnapshotUnusable as reason:
            what = f"keywords {file.name}: {reason}; they are read anew at the first search"
            self._found(what, "warning", self._keywords.rebuild)

    def stale_files(self, brain: Path) -> None:
        for file in sorted([*brain.glob("*.tmp"), *(brain / "index").glob("*.tmp")]):
            self._found(f"{file} was left behind by an interrupted write", "warning", file.unlink)


def _is_sound(blob: bytes, native_dim: int) -> bool:
    return len(blob) == 4 * native_dim and bool(are_unit(vector_of(blob)[np.newaxis])[0])
