"""Cold storage: what is old and hardly used leaves hot memory for a second file; its place in the graph stays."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np

from ruvllm.errors import BrainError
from ruvllm.memory.derived import Derived
from ruvllm.memory.rows import SEARCHED, insert_keywords, title_of, vector_of
from ruvllm.memory.shelves import forget_words, outdated, refile, repack, unfile
from ruvllm.memory.store import Store, fetch, translated
from ruvllm.types import NodeType
from ruvllm.whole_file import fsync_folder

__all__ = ["Archive", "ArchiveReport", "stub_of"]

BATCH_NODES = 1024  # in one transaction
STUB_CHARS = 80
BUSY_TIMEOUT_MS = 10_000
DAY_S = 86_400.0
HAS_DELETED = 1  # user_version of a cold file that was not compacted since

IS_OLD = (  # and no answer, whose words conversations and training read
    f"nodes.namespace = ? AND {SEARCHED} AND nodes.type NOT IN (?, ?) AND nodes.last_used <= ? AND nodes.use_count < ?"
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS brain (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nodes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, vector BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What a run moved out of hot memory; `kept` nodes of the namespace are still searched."""

    archived: int
    kept: int
    bytes_moved: int
    seconds: float


def stub_of(text: str) -> str:
    """Return what stays in the brain of an archived node's text: its beginning, never empty."""
    return text.strip()[:STUB_CHARS]


class Archive:
    """The cold file of a brain, for one namespace. A node is written to it before it leaves the brain, and leaves it
    after it is back: a crash in between leaves it in both, and `tidy` removes the copy that is not in use."""

    def __init__(self, store: Store, brain: Path, namespace: str, derived: Derived) -> None:
        self._store = store
        self._default = brain / "cold.db"
        self._namespace = namespace
        self._derived = derived
        self._lock = threading.Lock()  # held while nodes move between the files

    @property
    def file(self) -> Path:
        """The file archived nodes are in, or will be."""
        return Path(self._store.value("SELECT value FROM meta WHERE key = 'cold_path'") or self._default)

    # -- there and back ----------------------------------------------------------------------------------------------

    def run(self, max_age_days: float, min_use_count: int, cold_path: Path | None) -> ArchiveReport:
        """Move what has not been used for `max_age_days` and less than `min_use_count` times into the cold file."""
        started, now = time.perf_counter(), time.time()
        spared = (NodeType.CONCEPT.value, NodeType.ANSWER.value)
        is_old = (self._namespace, *spared, now - max_age_days * DAY_S, min_use_count)
        archived = moved = 0
        with self._lock:
            old = [row[0] for row in self._store.rows(f"SELECT id FROM nodes WHERE {IS_OLD} ORDER BY id", is_old)]
            if old:
                self._settle_on(cold_path)
            for start in range(0, len(old), BATCH_NODES):
                ids = old[start : start + BATCH_NODES]
                rows = self._store.rows(
                    "SELECT id, text, vector FROM nodes JOIN vectors ON node = id "
                    "WHERE id IN (SELECT value FROM json_each(?))",
                    (json.dumps(ids),),
                )
                with self.writing() as cold:
                    cold.executemany("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", rows)
                gone = set(self._take_out([(stub_of(text), node, *is_old) for node, text, _ in rows]))
                archived += len(gone)
                moved += sum(len(text.encode()) + len(vector) for node, text, vector in rows if node in gone)
            self._tidy()
        searched = f"SELECT count(*) FROM nodes WHERE namespace = ? AND {SEARCHED}"
        kept = self._store.value(searched, (self._namespace,))
        return ArchiveReport(archived, kept, moved, time.perf_counter() - started)

    def _take_out(self, stubs: Sequence[tuple[object, ...]]) -> list[int]:
        """Make stubs of those nodes that are still old, and return their ids."""

        def work(connection: apsw.Connection) -> list[int]:
            sql = f"UPDATE nodes SET tier = 'cold', text = ? WHERE id = ? AND {IS_OLD} RETURNING id"
            gone = [row[0] for row in connection.executemany(sql, stubs)]
            for table, key in (("vectors", "node"), ("keywords", "rowid")):
                connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", [(node,) for node in gone])
            return gone

        return self._store.write(work, after=self._derived.removed)

    def rehydrate(self, ids: Iterable[int]) -> int:
        """Bring nodes back into hot memory, used now; hot ones are passed over. Return how many are searched again.

        Raises:
            KeyError: a node does not exist here.
            BrainError: the cold file, or a node in it, is missing; nothing came back.
        """
        wanted = list(dict.fromkeys(ids))
        with self._lock:
            sql = "SELECT id, tier, metadata FROM nodes WHERE +namespace = ? AND id IN (SELECT value FROM json_each(?))"
            rows = {row[0]: row[1:] for row in self._store.rows(sql, (self._namespace, json.dumps(wanted)))}
            for node in wanted:
                if node not in rows:
                    raise KeyError(node)
            cold = {node: title_of(json.loads(metadata)) for node, (tier, metadata) in rows.items() if tier == "cold"}
            if not cold:
                return 0
            texts = self.read(cold)
            back = self._put_back([(node, title, *texts[node]) for node, title in cold.items()])
            self._drop(list(cold))
        return len(back)

    def _put_back(self, rows: Sequence[tuple[int, str, str, bytes]]) -> list[int]:
        now = time.time()

        def work(connection: apsw.Connection) -> list[int]:
            back = []
            for node, title, text, vector in rows:
                sql = "UPDATE nodes SET tier = 'hot', text = ?, last_used = max(last_used, ?) WHERE id = ?"
                given = (text, now, node)
                for ended, probation in fetch(connection, f"{sql} RETURNING ended, probation", given):  # not forgotten
                    connection.execute("INSERT INTO vectors (node, vector) VALUES (?, ?)", (node, vector))
                    if ended is None:  # else it was replaced meanwhile
                        insert_keywords(connection, node, title, text)
                        if not probation:
                            back.append(node)
            return back

        def after(back: list[int]) -> None:
            vectors = {node: vector_of(vector) for node, _, _, vector in rows}
            if back:
                self._derived.added(back, np.stack([vectors[node] for node in back]))

        return self._store.write(work, after=after)

    # -- the file ----------------------------------------------------------------------------------------------------

    def read(self, ids: Iterable[int]) -> dict[int, tuple[str, bytes]]:
        """Return text and vector of archived nodes, by id.

        Raises:
            BrainError: the file, or a node in it, is missing.
        """
        wanted = list(ids)
        file = self.file
        if not file.exists():
            raise BrainError(f"{file} is missing: it holds the texts of archived nodes; restore it", path=file)
        sql = "SELECT id, text, vector FROM nodes WHERE id IN (SELECT value FROM json_each(?))"
        with self.reading() as cold:
            found = {node: (text, vector) for node, text, vector in fetch(cold, sql, (json.dumps(wanted),))}
        for node in wanted:
            if node not in found:
                raise BrainError(f"{file} does not hold the archived node {node}; restore it", path=file)
        return found

    def has_let_go_of(self, ids: Iterable[int]) -> bool:
        """Return whether any of these nodes, which somebody saw in here, came back or was deleted since."""
        wanted = list(ids)
        sql = "SELECT count(*) FROM nodes WHERE tier = 'cold' AND id IN (SELECT value FROM json_each(?))"
        return bool(self._store.value(sql, (json.dumps(wanted),)) < len(wanted))

    def tidy(self) -> None:
        """Delete from the cold file what is not archived: nodes that are back, were forgotten, or ended for good."""
        with self._lock:
            self._tidy()

    def compact(self) -> None:
        """Tidy, and let the full-text index hold no words of what was deleted: deleting alone leaves them there."""
        with self._lock:
            self._tidy()
            if not self.file.exists():
                return
            with self.reading() as cold:
                has_deleted = cold.pragma("user_version") == HAS_DELETED
            if has_deleted:
                with self.writing() as cold:
                    forget_words(cold)
                    cold.pragma("user_version", 0)

    def forget(self, ids: Sequence[int]) -> None:
        """Delete nodes from the cold file that were just deleted from the brain."""
        with self._lock:
            if self.file.exists():
                self._drop(ids)
                self._repack()

    def _tidy(self) -> None:
        self._drop(self.surplus())
        if self.file.exists():
            self._repack()

    def _repack(self) -> None:
        with self.reading() as cold:
            is_outdated = bool(outdated(cold))
        if is_outdated:
            with self.writing() as cold:
                repack(cold)

    def _drop(self, ids: Sequence[int]) -> None:
        if ids:
            with self.writing() as cold:
                unfile(cold, ids)
                cold.executemany("DELETE FROM nodes WHERE id = ?", [(node,) for node in ids])
                cold.pragma("user_version", HAS_DELETED)

    def refile(self) -> int:
        """File what is archived with the concepts of today; return how many nodes have a place on a shelf."""
        with self._lock:
            return refile(self._store, self, self._namespace) if self.file.exists() else 0

    def surplus(self) -> list[int]:
        """Return the ids in the cold file whose nodes are not archived."""
        return sorted(self._held() - self._archived())

    def lost(self) -> list[int]:
        """Return the ids of archived nodes, of any namespace, that the cold file does not hold."""
        return sorted(self._archived() - self._held())

    def _archived(self) -> set[int]:
        return {row[0] for row in self._store.rows("SELECT id FROM nodes WHERE tier = 'cold'")}

    def _held(self) -> set[int]:
        if not self.file.exists():
            return set()
        with self.reading() as cold:
            return {row[0] for row in fetch(cold, "SELECT id FROM nodes")}

    def _settle_on(self, cold_path: Path | None) -> None:
        """Decide once where the cold file is and which brain it belongs to; make it.

        Raises:
            ValueError: archived nodes are in another file already.
            BrainError: the file is another brain's.
        """
        file = self.file.absolute() if cold_path is None else cold_path.absolute()
        if file != self.file.absolute() and self._archived():
            raise ValueError(f"cold_path: archived nodes are in {self.file} already, not in {cold_path}")
        own = ("INSERT OR IGNORE INTO meta VALUES ('cold_id', ?)", (uuid.uuid4().hex,))
        self._store.write(lambda connection: connection.execute(*own).fetchall())
        if not file.exists():
            if not file.parent.is_dir():
                raise ValueError(f"cold_path: there is no directory {file.parent}")
            self._make(file)
        with self._connected(apsw.SQLITE_OPEN_READWRITE, file) as cold:
            self._require_own(cold)
        if cold_path is not None:  # kept once it serves: later runs go by it
            kept = ("INSERT OR REPLACE INTO meta VALUES ('cold_path', ?)", (str(file),))
            self._store.write(lambda connection: connection.execute(*kept).fetchall())

    def _make(self, file: Path) -> None:
        """Make the cold file, as a whole or not at all."""
        part = file.with_name(file.name + ".tmp")
        part.unlink(missing_ok=True)
        try:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            with self._connected(flags, part) as cold, _transaction(cold):
                cold.execute(SCHEMA)
                cold.execute("INSERT INTO brain VALUES (?)", (self._id(),))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.replace(file)
        fsync_folder(file.parent)

    def _id(self) -> str | None:
        value: str | None = self._store.value("SELECT value FROM meta WHERE key = 'cold_id'")
        return value

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Give a connection of the cold file for reading; who may write undoes first what a crash left half written."""
        flags = apsw.SQLITE_OPEN_READONLY if self._store.read_only else apsw.SQLITE_OPEN_READWRITE
        with self._connected(flags) as cold:
            self._require_own(cold)
            yield cold

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """Give a transaction of the cold file, on disk when this returns."""
        with self._connected(apsw.SQLITE_OPEN_READWRITE) as cold:
            self._require_own(cold)
            with _transaction(cold):
                yield cold

    @contextmanager
    def _connected(self, flags: int, file: Path | None = None) -> Iterator[apsw.Connection]:
        file = file or self.file
        with translated(file):
            connection = apsw.Connection(str(file), flags=flags)
            try:
                connection.set_busy_timeout(BUSY_TIMEOUT_MS)
                if flags & apsw.SQLITE_OPEN_READWRITE:
                    connection.pragma("synchronous", "FULL")
                    connection.pragma("secure_delete", True)  # what is forgotten is overwritten
                    connection.pragma("cache_spill", False)  # readers wait for the commit alone
                yield connection
            finally:
                connection.close()

    def _require_own(self, cold: apsw.Connection) -> None:
        try:
            owner = cold.execute("SELECT id FROM brain").get
        except apsw.SQLError:
            owner = None
        if owner is None or owner != self._id():
            file = Path(cold.filename)
            raise BrainError(f"{file} is not the archive of this brain; it was left as it is", path=file)


@contextmanager
def _transaction(cold: apsw.Connection) -> Iterator[None]:
    """Commit what the body writes, or nothing of it; a full disk has undone it by itself."""
    cold.execute("BEGIN IMMEDIATE")  # who reads first and writes then would give up at once
    try:
        yield
        cold.execute("COMMIT")
    finally:
        if cold.in_transaction:
            cold.execute("ROLLBACK")
