"""A brain as JSON Lines: every row, ids counted from 1 in their order, so that the same content is the same bytes."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import apsw

from ruvllm.errors import BrainError
from ruvllm.memory.archive import Archive
from ruvllm.memory.lines import BLOB_COLUMNS, JSON_COLUMNS, NODE_KEYS, TABLES, VERSION, Table, is_id
from ruvllm.memory.store import Store, fetch, translated
from ruvllm.whole_file import replacing

__all__ = ["export_brain"]

READ_ROWS = 1024  # at a time

OF_A_NODE = (
    "(SELECT json_group_array(name) FROM (SELECT name FROM names WHERE node = nodes.id ORDER BY name)), "
    "(SELECT json_group_array(term) FROM (SELECT term FROM mentions WHERE node = nodes.id ORDER BY term)), "
    "(SELECT vector FROM vectors WHERE node = nodes.id)"
)


def export_brain(store: Store, file: Path, archive: Archive) -> int:
    """Write every row of one moment to `file` (gzip when it ends in .gz) and return the number of lines.

    A brain that was imported from the file into an empty one is exported as the same bytes. Archived nodes are written
    whole and come back hot. Of a source that was forgotten, the id is left out of the answers that were shown it. A
    file of this name, or what a link of this name points to, is replaced once the new one is whole.

    Raises:
        ValueError: `file` is a directory, a pipe or a device, or would lie among the brain's own files.
        OSError: the file cannot be written; one that was there before stays.
        BrainError: the disk is full, or a node is archived and the cold file is missing.
    """
    if file.resolve().is_relative_to(store.path.parent.resolve()):
        raise ValueError(f"file: {file} is inside the brain's own directory; write it elsewhere")
    folder = (file.resolve() if file.is_symlink() else file).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"file: there is no directory {folder}")
    archived = [row[0] for row in store.rows("SELECT id FROM nodes WHERE tier = 'cold'")]
    try:
        return _write(store, file, archive)
    except BrainError:
        if not archive.has_let_go_of(archived):
            raise
        return export_brain(store, file, archive)  # of a moment at which the two files agree


def _write(store: Store, file: Path, archive: Archive) -> int:
    lines = 0
    with translated(store.path), replacing(file) as raw, _packed(raw, is_gzip=file.suffix == ".gz") as stream:
        for line in _lines(store.reader(), archive):
            stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            lines += 1
    return lines


def _packed(raw: BinaryIO, *, is_gzip: bool) -> AbstractContextManager[BinaryIO]:
    """Return a stream into `raw`; what is written there depends on nothing but the bytes (no name, no time)."""
    if not is_gzip:
        return nullcontext(raw)
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
    return cast("BinaryIO", io.BufferedWriter(cast("io.RawIOBase", packed)))


def _lines(connection: apsw.Connection, archive: Archive) -> Iterator[dict[str, Any]]:
    connection.execute("BEGIN")  # one moment for all tables
    try:
        meta = "SELECT key, value FROM meta WHERE key IN ('embedder', 'native_dim') ORDER BY key"
        yield {"kind": "brain", "version": VERSION} | dict(fetch(connection, meta))
        count = 0
        numbers = _Numbers(connection)
        for kind, table in TABLES.items():
            for line in _rows(connection, table, archive):
                yield {"kind": kind} | numbers.put(kind, line)
                count += 1
        yield {"kind": "end", "count": count}
    finally:
        connection.execute("ROLLBACK")


def _rows(connection: apsw.Connection, table: Table, archive: Archive) -> Iterator[dict[str, Any]]:
    more = f", {OF_A_NODE}" if table.name == "nodes" else ""
    sql = f"SELECT {', '.join(table.columns)}{more} FROM {table.name} ORDER BY {table.order}"
    fields = table.shape.__struct_fields__
    with closing(connection.execute(sql)) as cursor:  # one that is left open would keep its moment
        while rows := list(islice(cursor, READ_ROWS)):
            lines: list[dict[str, Any]] = [dict(zip(fields, row, strict=True)) for row in rows]
            _rehydrate([line for line in lines if line.get("tier") == "cold"], archive)
            for line in lines:
                for column in (JSON_COLUMNS | {"names", "mentions"}) & line.keys():
                    line[column] = json.loads(line[column])
                for column in BLOB_COLUMNS & line.keys():
                    if line[column] is not None:
                        line[column] = base64.b64encode(line[column]).decode("ascii")
                yield line


def _rehydrate(lines: list[dict[str, Any]], archive: Archive) -> None:
    """Make archived nodes whole."""
    if lines:
        whole = archive.read(line["id"] for line in lines)
        for line in lines:
            line["text"], line["vector"] = whole[line["id"]]
            line["tier"] = "hot"


NODE_COLUMNS = ("src", "dst", "node", "a", "b", "query_node", "answer_node", "said_node", "correction_node")


class _Numbers:
    """The ids in a file, 1, 2, 3 ... in the order of those in the brain."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._documents = _numbered(connection, "documents")
        self._nodes = _numbered(connection, "nodes")

    def put(self, kind: str, line: dict[str, Any]) -> dict[str, Any]:
        """Return the line with the file's ids in the place of the brain's."""
        if kind == "document":
            line["id"] = self._documents[line["id"]]
        elif kind == "node":
            line["id"] = self._nodes[line["id"]]
            if line["document"] is not None:
                line["document"] = self._documents[line["document"]]
            for key in NODE_KEYS:
                if is_id(line["metadata"].get(key)):
                    line["metadata"][key] = self._nodes.get(line["metadata"][key])
        else:
            for column in NODE_COLUMNS:
                if line.get(column) is not None:
                    line[column] = self._nodes[line[column]]
            for column in ("source_ids", "used_ids"):
                if column in line:
                    line[column] = [self._nodes[i] for i in line[column] if i in self._nodes]
        return line


def _numbered(connection: apsw.Connection, table: str) -> dict[int, int]:
    return {row[0]: i for i, row in enumerate(connection.execute(f"SELECT id FROM {table} ORDER BY id"), start=1)}
