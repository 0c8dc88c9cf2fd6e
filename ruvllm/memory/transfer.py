"""A brain as JSON Lines and back: every row, ids renumbered on the way in, all or nothing."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import apsw

from ruvllm.memory.archive import Archive, stub_of
from ruvllm.memory.lines import require_sound
from ruvllm.memory.rows import as_unit_rows, title_of, vector_of
from ruvllm.memory.store import Store, fetch, translated

__all__ = ["export_brain", "import_brain"]

VERSION = 1
SAME_TEXT = "text = iif(tier = 'hot', ?, ?)"  # whole, or what the archive left of it
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, apsw.ConstraintError,
    apsw.MismatchError,
)  # fmt: skip

# kind -> (table, columns); ids in a file only connect its own lines
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "document": ("documents", ("id", "namespace", "source", "title", "sha256", "chunks", "ingested")),
    "node": (
        "nodes",
        (
            "id", "namespace", "type", "text", "source", "metadata", "created", "last_used", "use_count", "tier",
            "trust", "session", "probation", "document", "ended",
        ),
    ),
    "edge": ("edges", ("src", "dst", "type", "weight", "success", "failure", "last_used", "created_by")),
    "interaction": (
        "interactions",
        (
            "id", "namespace", "session", "created", "query_node", "answer_node", "source_ids", "used_ids", "route",
            "timings_ms", "confidence", "finish_reason",
        ),
    ),
    "feedback": (
        "feedback",
        ("interaction", "rating", "quality", "task_success", "correction", "correction_node", "updated"),
    ),
}  # fmt: skip
JSON_COLUMNS = frozenset(("metadata", "source_ids", "used_ids", "route", "timings_ms"))


def export_brain(store: Store, file: Path, archive: Archive) -> int:
    """Write every row of one moment to `file` (gzip when it ends in .gz) and return the number of lines.

    A file of this name is replaced once the new one is whole. Archived nodes are written whole and come back hot.

    Raises:
        ValueError: `file` is a directory, or would lie among the brain's own files.
        OSError: the file cannot be written; one that was there before stays.
        BrainError: a node is archived and the cold file is missing.
    """
    if file.is_dir():
        raise ValueError(f"file: {file} is a directory")
    if file.resolve().is_relative_to(store.path.parent.resolve()):
        raise ValueError(f"file: {file} is inside the brain's own directory; write it elsewhere")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"file: there is no directory {file.parent}")
    part = file.with_name(file.name + ".tmp")
    lines = 0
    try:
        with translated(store.path), _opened(part, "wt", is_gzip=file.suffix == ".gz") as stream:
            for line in _lines(store.reader(), archive):
                stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
                lines += 1
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return lines


def _lines(connection: apsw.Connection, archive: Archive) -> Iterator[dict[str, Any]]:
    connection.execute("BEGIN")  # one moment for all tables
    try:
        yield {"kind": "brain", "version": VERSION} | dict(
            fetch(connection, "SELECT key, value FROM meta WHERE key IN ('embedder', 'native_dim')")
        )
        count = 0
        for kind, (table, columns) in TABLES.items():
            extra = ", (SELECT vector FROM vectors WHERE node = nodes.id)" if kind == "node" else ""
            for row in connection.execute(f"SELECT {', '.join(columns)}{extra} FROM {table} ORDER BY 1"):
                line = {"kind": kind, **dict(zip(columns, row, strict=False))}
                for column in JSON_COLUMNS & line.keys():
                    line[column] = json.loads(line[column])
                if kind == "node":
                    vector = row[-1]
                    if line["tier"] == "cold":
                        line["tier"], (line["text"], vector) = "hot", archive.read([line["id"]])[line["id"]]
                    line["vector"] = base64.b64encode(vector).decode("ascii") if vector is not None else None
                yield line
                count += 1
        yield {"kind": "end", "count": count}
    finally:
        connection.execute("ROLLBACK")


def import_brain(store: Store, file: Path, *, embedder: str | None = None) -> int:
    """Add what `export_brain` wrote and return the number of lines read; rows that are here already stay as they are.

    A document of the same source is replaced unless its content is the same.

    Args:
        embedder: whose vectors the brain will hold, where it is known before the first of them.

    Raises:
        ValueError: a line is damaged or the file is cut off; the message names the line and nothing is imported.
        OSError: the file cannot be read.
    """
    return store.write(lambda connection: _Import(connection, file, embedder).run())


class _Import:
    """One import inside one transaction."""

    def __init__(self, connection: apsw.Connection, file: Path, embedder: str | None) -> None:
        self._connection = connection
        self._file = file
        self._embedder = embedder
        self._number = 0
        self._native_dim = 0
        self._documents: dict[int, int] = {}  # id in the file -> id here
        self._kept_documents: set[int] = set()  # ids here of documents with the same content
        self._nodes: dict[int, int] = {}
        self._taken: set[int] = set()  # nodes here that a node of the file turned out to be
        self._skipped_interactions: set[str] = set()

    def run(self) -> int:
        rows = 0
        ended = False
        try:
            for line in self._read():
                kind = line.pop("kind")
                if self._number == 1:
                    self._header(kind, line)
                elif ended:
                    raise ValueError("there are lines after the end")
                elif kind == "end":
                    ended = True
                    if line["count"] != rows:
                        raise ValueError(f"{rows} rows came before the end, not {line['count']}")
                else:
                    rows += 1
                    require_sound(kind, line)
                    {
                        "document": self._document,
                        "node": self._node,
                        "edge": self._edge,
                        "interaction": self._interaction,
                        "feedback": self._feedback,
                    }[kind](line)
            if not ended:
                raise ValueError("the file is cut off here")
        except DAMAGE as error:
            reason = f"missing or unknown {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{self._file}, line {max(self._number, 1)}: {reason}") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{self._file}, line {self._number + 1}: damaged compression: {error}") from error
        return self._number

    def _read(self) -> Iterator[dict[str, Any]]:
        with _opened(self._file, "rt", is_gzip=self._file.suffix == ".gz") as stream:
            for text in stream:
                self._number += 1
                try:
                    line = json.loads(text, parse_constant=_refuse)
                except json.JSONDecodeError as error:
                    raise ValueError(f"it is not JSON ({error})") from error
                if not isinstance(line, dict):
                    raise ValueError("it is not a JSON object")
                yield line

    def _header(self, kind: str, line: dict[str, Any]) -> None:
        if kind != "brain" or line.pop("version") != VERSION:
            raise ValueError(f"it is not an export of version {VERSION}")
        if not line:  # an empty brain was exported
            return
        meta = {key: str(line[key]) for key in ("embedder", "native_dim")}
        here: dict[str, str] = dict(fetch(self._connection, "SELECT key, value FROM meta"))
        embedder = here.get("embedder", self._embedder)
        if embedder not in (None, meta["embedder"]):
            raise ValueError(f"its vectors are by {meta['embedder']}, those here by {embedder}")
        self._connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", list(meta.items()))
        self._native_dim = int(meta["native_dim"])

    def _document(self, line: dict[str, Any]) -> None:
        old = self._connection.execute(
            "SELECT id, sha256 FROM documents WHERE namespace = ? AND source = ?", (line["namespace"], line["source"])
        ).fetchone()
        if old is not None and old[1] == line["sha256"]:
            self._documents[line["id"]] = old[0]
            self._kept_documents.add(old[0])
            return
        if old is not None:
            nodes = "SELECT id FROM nodes WHERE document = ?"
            self._connection.execute(f"DELETE FROM keywords WHERE rowid IN ({nodes})", (old[0],))
            self._connection.execute("DELETE FROM nodes WHERE document = ?", (old[0],))
            self._connection.execute("DELETE FROM documents WHERE id = ?", (old[0],))
        self._documents[line["id"]] = self._insert("document", line)

    def _node(self, line: dict[str, Any]) -> None:
        old_id = line["id"]
        line.setdefault("ended", None)
        line["document"] = self._documents[line["document"]] if line["document"] is not None else None
        here = self._same_node(line)
        if here is not None:
            self._nodes[old_id] = here
            self._taken.add(here)
            return
        raw = line.pop("vector")
        node = self._nodes[old_id] = self._insert("node", line)
        if line["ended"] is None:
            title = title_of(line["metadata"])
            keywords = "INSERT INTO keywords (rowid, title, body) VALUES (?, ?, ?)"
            self._connection.execute(keywords, (node, title, line["text"]))
        if raw is not None:
            self._connection.execute("INSERT INTO vectors VALUES (?, ?)", (node, self._vector(raw)))

    def _vector(self, raw: str) -> bytes:
        try:
            blob = base64.b64decode(raw, validate=True)
        except binascii.Error as error:
            raise ValueError(f"vector: {error}") from error
        if len(blob) != 4 * self._native_dim:
            raise ValueError(f"vector has {len(blob)} bytes, not {4 * self._native_dim}")
        as_unit_rows(vector_of(blob), self._native_dim, "vector")
        return blob

    def _same_node(self, line: dict[str, Any]) -> int | None:
        if line["document"] in self._kept_documents:
            sql = f"SELECT id FROM nodes WHERE document = ? AND {SAME_TEXT} AND ended IS ?"
            rows = fetch(self._connection, sql, (line["document"], line["text"], stub_of(line["text"]), line["ended"]))
            return next((row[0] for row in rows if row[0] not in self._taken), None)
        return cast(
            "int | None",
            self._connection.execute(
                "SELECT min(id) FROM nodes WHERE created = ? AND namespace = ? AND type = ? "
                f"AND source IS ? AND session IS ? AND document IS ? AND {SAME_TEXT}",
                [line[c] for c in ("created", "namespace", "type", "source", "session", "document", "text")]
                + [stub_of(line["text"])],
            ).get,
        )

    def _edge(self, line: dict[str, Any]) -> None:
        line["src"], line["dst"] = self._nodes[line["src"]], self._nodes[line["dst"]]
        self._insert("edge", line, keep_id=True, verb="INSERT OR IGNORE")

    def _interaction(self, line: dict[str, Any]) -> None:
        if self._connection.execute("SELECT 1 FROM interactions WHERE id = ?", (line["id"],)).get:
            self._skipped_interactions.add(line["id"])
            return
        for column in ("query_node", "answer_node"):
            line[column] = self._nodes[line[column]] if line[column] is not None else None
        for column in ("source_ids", "used_ids"):  # a source may have been forgotten since
            line[column] = [self._nodes[i] for i in line[column] if i in self._nodes]
        self._insert("interaction", line, keep_id=True)

    def _feedback(self, line: dict[str, Any]) -> None:
        if line["interaction"] not in self._skipped_interactions:
            node = line["correction_node"]
            line["correction_node"] = self._nodes[node] if node is not None else None
            self._insert("feedback", line, keep_id=True)

    def _insert(self, kind: str, line: dict[str, Any], *, keep_id: bool = False, verb: str = "INSERT") -> int:
        table, columns = TABLES[kind]
        names = [column for column in columns if keep_id or column != "id"]
        values = [json.dumps(line[c], ensure_ascii=False) if c in JSON_COLUMNS else line[c] for c in names]
        marks = ", ".join("?" * len(names))
        self._connection.execute(f"{verb} INTO {table} ({', '.join(names)}) VALUES ({marks})", values)
        return self._connection.last_insert_rowid()


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that can be stored")


def _opened(file: Path, mode: str, *, is_gzip: bool) -> IO[str]:
    if is_gzip:
        return cast("IO[str]", gzip.open(file, mode, encoding="utf-8", newline="\n"))
    return cast("IO[str]", file.open(mode, encoding="utf-8", newline="\n"))
