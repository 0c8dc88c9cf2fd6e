"""An exported brain into this one: ids renumbered, what is here already kept, all or nothing."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from ruvllm.memory.archive import stub_of
from ruvllm.memory.concepts import hide_stale
from ruvllm.memory.history import end_nodes
from ruvllm.memory.lines import (
    JSON_COLUMNS,
    NODE_KEYS,
    TABLES,
    VERSION,
    as_current,
    is_id,
    opened,
    parsed,
    require_sound,
)
from ruvllm.memory.rows import as_unit_rows, title_of, vector_of
from ruvllm.memory.store import Store, fetch
from ruvllm.types import Decision, TierEstimate

__all__ = ["import_brain"]

SAME_TEXT = "text = iif(tier = 'hot', ?, ?)"  # whole, or what the archive left of it
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, apsw.ConstraintError,
    apsw.MismatchError,
)  # fmt: skip


def import_brain(store: Store, file: Path, *, embedder: str | None = None) -> int:
    """Add what `export_brain` wrote and return the number of lines read; rows that are here already stay as they are.

    A document of the same source is replaced, as ingest does it, unless its content is the same: what it said until now
    is history, and what was trusted less of the two stays so.

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
        self._version = VERSION
        self._native_dim = 0
        self._documents: dict[int, int] = {}  # id in the file -> id here
        self._trust: dict[int, float] = {}  # id here of a document that is replaced -> most that its nodes get
        self._nodes: dict[int, int] = {}
        self._newest_here: int = connection.execute("SELECT ifnull(max(id), 0) FROM nodes").get
        self._taken: set[int] = set()  # nodes here that a node of the file turned out to be
        self._pointing: dict[int, dict[str, int]] = {}  # node here -> what its metadata says of nodes in the file
        self._kept_interactions: set[str] = set()  # those that are here already

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
                    self._row(kind, as_current(kind, line, self._version))
            if not ended:
                raise ValueError("the file is cut off here")
            self._point()
        except DAMAGE as error:
            reason = f"missing or unknown {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{self._file}, line {max(self._number, 1)}: {reason}") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{self._file}, line {self._number + 1}: damaged compression: {error}") from error
        return self._number

    def _read(self) -> Iterator[dict[str, Any]]:
        with opened(self._file, is_gzip=self._file.suffix == ".gz") as stream:
            for text in stream:
                self._number += 1
                line = parsed(text)
                if not isinstance(line, dict):
                    raise ValueError("it is not a JSON object")
                yield line

    def _header(self, kind: str, line: dict[str, Any]) -> None:
        version: Any = line.pop("version") if kind == "brain" else None
        if version not in range(1, VERSION + 1):
            raise ValueError(f"it is not an export of a version from 1 to {VERSION}")
        self._version = version
        if not line:  # an empty brain was exported
            return
        meta = {key: str(line[key]) for key in ("embedder", "native_dim")}
        here: dict[str, str] = dict(fetch(self._connection, "SELECT key, value FROM meta"))
        embedder = here.get("embedder", self._embedder)
        if embedder not in (None, meta["embedder"]):
            raise ValueError(f"its vectors are by {meta['embedder']}, those here by {embedder}")
        self._connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", list(meta.items()))
        self._native_dim = int(meta["native_dim"])

    def _row(self, kind: str, line: dict[str, Any]) -> None:
        require_sound(kind, line)
        if kind == "document":
            self._document(line)
        elif kind == "node":
            self._node(line)
        elif kind == "interaction":
            self._interaction(line)
        else:
            self._relation(kind, line)

    def _document(self, line: dict[str, Any]) -> None:
        known = "SELECT id, sha256, trust FROM documents WHERE namespace = ? AND source = ?"
        rows = fetch(self._connection, known, (line["namespace"], line["source"]))
        if not rows:
            self._documents[line["id"]] = self._insert("document", line)
            return
        [(document, sha256, trust)] = rows
        self._documents[line["id"]] = document
        if sha256 == line["sha256"]:
            return
        held = fetch(self._connection, "SELECT id FROM nodes WHERE document = ? AND ended IS NULL", (document,))
        nodes = [row[0] for row in held]
        end_nodes(self._connection, nodes, time.time())
        hide_stale(self._connection, nodes)
        self._trust[document] = min(trust, line["trust"])
        self._connection.execute(
            "UPDATE documents SET title = ?, sha256 = ?, chunks = ?, ingested = ?, trust = ? WHERE id = ?",
            (*(line[c] for c in ("title", "sha256", "chunks", "ingested")), self._trust[document], document),
        )

    def _node(self, line: dict[str, Any]) -> None:
        old_id = line["id"]
        line.setdefault("ended", None)
        line["document"] = self._documents[line["document"]] if line["document"] is not None else None
        here = self._same_node(line)
        if here is not None:
            self._nodes[old_id] = here
            self._taken.add(here)
            return
        if line["document"] in self._trust:
            line["trust"] = min(line["trust"], self._trust[line["document"]])
        pointing = {key: line["metadata"][key] for key in NODE_KEYS if is_id(line["metadata"].get(key))}
        line["metadata"] |= dict.fromkeys(pointing)
        node = self._nodes[old_id] = self._insert("node", line)
        if pointing:
            self._pointing[node] = pointing
        if line["ended"] is None:
            title = title_of(line["metadata"])
            keywords = "INSERT INTO keywords (rowid, title, body) VALUES (?, ?, ?)"
            self._connection.execute(keywords, (node, title, line["text"]))
        if line["vector"] is not None:
            self._connection.execute("INSERT INTO vectors VALUES (?, ?)", (node, self._vector(line["vector"])))
        for table, values in (("names", line["names"]), ("mentions", line["mentions"])):
            each = [(line["namespace"], value, node) for value in values]
            self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", each)

    def _vector(self, raw: str) -> bytes:
        blob = _bytes(raw, "vector")
        if len(blob) != 4 * self._native_dim:
            raise ValueError(f"vector has {len(blob)} bytes, not {4 * self._native_dim}")
        as_unit_rows(vector_of(blob), self._native_dim, "vector")
        return blob

    def _same_node(self, line: dict[str, Any]) -> int | None:
        """Return the node that was here before the import and that a line is about; each is found once."""
        if not self._newest_here:
            return None
        if line["document"] is not None:
            columns: tuple[str, ...] = ("document", "ended")
        else:
            columns = ("created", "namespace", "type", "source", "session", "document")
        same = " AND ".join([*(f"{column} IS ?" for column in columns), SAME_TEXT])
        rows = fetch(
            self._connection,
            f"SELECT id FROM nodes WHERE {same} AND id <= ? ORDER BY id",
            [*(line[c] for c in columns), line["text"], stub_of(line["text"]), self._newest_here],
        )
        return next((row[0] for row in rows if row[0] not in self._taken), None)

    def _interaction(self, line: dict[str, Any]) -> None:
        if self._connection.execute("SELECT 1 FROM interactions WHERE id = ?", (line["id"],)).get:
            self._kept_interactions.add(line["id"])
            return
        for column in ("query_node", "answer_node", "said_node"):
            line[column] = self._nodes[line[column]] if line[column] is not None else None
        for column in ("source_ids", "used_ids"):  # version 1 names sources that were forgotten since
            line[column] = self._known(line[column])
        self._insert("interaction", line)

    def _known(self, ids: list[int]) -> list[int]:
        return [self._nodes[i] for i in ids if i in self._nodes]

    def _relation(self, kind: str, line: dict[str, Any]) -> None:
        """Insert a row about nodes and interactions, unless it is here or is about an interaction that is."""
        if line.get("interaction") in self._kept_interactions:
            return
        for column in ("src", "dst", "node", "a", "b", "correction_node"):
            if line.get(column) is not None:
                line[column] = self._nodes[line[column]]
        if kind == "decision":
            self._decision(line)
        if kind == "tier_outcome":
            line["source_ids"] = self._known(line["source_ids"])
        if kind == "co_retrieval":  # a < b, also where ids are in another order here
            line["a"], line["b"] = sorted((line["a"], line["b"]))
        may_be_here = kind in ("edge", "edge_move", "co_retrieval", "session", "enrichment")
        self._insert(kind, line, otherwise="ON CONFLICT DO NOTHING" if may_be_here else "")

    def _decision(self, line: dict[str, Any]) -> None:
        """Refuse a decision that does not add up, and put bytes in the place of their text."""
        values = line | {column: _bytes(line[column], column) for column in ("features", "present")}
        estimates = tuple(TierEstimate(**estimate) for estimate in line["estimates"])
        Decision(**{name: value for name, value in values.items() if name != "interaction"} | {"estimates": estimates})
        line |= values

    def _insert(self, kind: str, line: dict[str, Any], *, otherwise: str = "") -> int:
        table = TABLES[kind]
        names = [column for column in table.columns if column != "id" or kind == "interaction"]
        values = [json.dumps(line[c], ensure_ascii=False) if c in JSON_COLUMNS else line[c] for c in names]
        marks = ", ".join("?" * len(names))
        self._connection.execute(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks}) {otherwise}", values)
        return self._connection.last_insert_rowid()

    def _point(self) -> None:
        """Fill in what metadata says of other nodes, now that all of them are here."""
        for node, pointing in self._pointing.items():
            for key, other in pointing.items():
                self._connection.execute(
                    "UPDATE nodes SET metadata = json_set(metadata, '$.' || ?, ?) WHERE id = ?",
                    (key, self._nodes.get(other), node),
                )


def _bytes(raw: str, name: str) -> bytes:
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name}: {error}") from error
