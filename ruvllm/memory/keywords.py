"""BM25 ranking of one namespace: an index in memory, derived from the database, with a snapshot beside it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from ruvllm.kernels import Bm25
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.nearest import MIN_UNSAVED, SEARCHED_IDS, index_base
from ruvllm.memory.rows import SEARCHED, title_of
from ruvllm.memory.store import Store
from ruvllm.text import TERMS_VERSION, terms
from ruvllm.whole_file import replacing

__all__ = ["Keywords", "SnapshotUnusable", "read_snapshot", "snapshot_path"]

logger = logging.getLogger(__name__)

READ_ROWS = 8192  # texts read from the database at a time
READ_LATER = 64  # so few new texts wait for the next who searches (about 1 ms): one by one they cost nine times that
FEW = 256  # nodes that hold a word; those of more frequent ones are not listed
MIN_SAVED = 5_000  # fewer documents are read anew (about 0.1 s) rather than saved

Documents = tuple[np.ndarray, np.ndarray]  # terms and indptr, as `Bm25.add` takes them


class SnapshotUnusable(Exception):
    """The saved snapshot cannot be used and the index is to be built from the database; the message says why."""


def snapshot_path(brain: Path, namespace: str) -> Path:
    """Return the file a namespace's snapshot is saved in."""
    base = index_base(brain, namespace)
    return base.with_name(base.name + ".bm25")


def read_snapshot(store: Store, file: Path) -> Bm25:
    """Return the saved index; nodes may have come and gone since.

    Raises:
        SnapshotUnusable: there is none, it is damaged, of another version, or of another database.
    """
    try:
        head, _, content = file.read_bytes().partition(b"\n")
        index = Bm25.restore(content)
        if head != _head(store, index):
            raise SnapshotUnusable("it is of another version or another database, or its newest node is gone")
        return index
    except FileNotFoundError as error:
        raise SnapshotUnusable("there is none") from error
    except (OSError, ValueError) as error:
        raise SnapshotUnusable(str(error)) from error


class Keywords:
    """What `search` asks for words. Read at first use; kept in step by `added` and `removed`."""

    def __init__(self, store: Store, brain: Path, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._file = snapshot_path(brain, namespace)
        self._lock = threading.RLock()  # held while the index is brought in step
        self._index: Bm25 | None = None
        self._unread: list[int] = []  # committed, and not in the index yet
        self._changes = 0  # since the last save or load
        self._frequent: set[int] = set()  # words that were in more than FEW nodes when last looked for
        self._version = 0  # of the database, as this one last saw it

    def __len__(self) -> int:
        return len(self._index) if self._index is not None else 0

    @property
    def is_loaded(self) -> bool:
        """Whether the index is in memory."""
        return self._index is not None

    # -- search ------------------------------------------------------------------------------------------------------

    def search(self, words: np.ndarray, k: int, *, among: np.ndarray | None = None) -> dict[int, float]:
        """Return the scores of the `k` best nodes for any of the words of a question, best first, by id.

        Args:
            words: as `query_terms` gives them.
            among: (m,) int64, the only ids that may come back; all when None.
        """
        ids, scores = self.load().search(words, k, among=among)
        return dict(zip(ids.tolist(), scores.tolist(), strict=True))

    def scores_of(self, words: np.ndarray, nodes: Iterable[tuple[int, str, str]]) -> dict[int, float]:
        """Return the scores that nodes outside the index, (id, text, metadata), would have, where they have one."""
        rows = list(nodes)
        scores = self.load().scores_of(words, *_documents(rows)).tolist()
        return {row[0]: score for row, score in zip(rows, scores, strict=True) if score > 0.0}

    def holding(self, words: np.ndarray) -> np.ndarray | None:
        """Return the ids of the nodes that hold each of the words, (n,) int64; None when all of these are in many.

        Args:
            words: (n,) uint64, as `terms` gives them, n > 0.
        """
        index, held = self.load(), None
        later = []
        for word in (words[i : i + 1] for i in range(len(words))):
            if held is not None:
                held, _ = index.search(word, max(len(held), 1), among=held)
                continue
            if int(word[0]) not in self._frequent:
                ids, _ = index.search(word, FEW + 1)
                if len(ids) <= FEW:
                    held = ids
                    continue
                self._frequent.add(int(word[0]))
            later.append(word)
        if held is None:
            return None
        for word in later:
            held, _ = index.search(word, max(len(held), 1), among=held)
        return held

    # -- keeping in step ---------------------------------------------------------------------------------------------

    def load(self) -> Bm25:
        """Read the index once, and follow another process's writes when this one only reads."""
        index = self._index
        if index is not None and not self._unread and not self._store.read_only:
            return index
        with self._changing():
            version = self._store.version()
            if self._index is None:
                self._changes = 0
                index = self._saved()
                self._bring_in_step(index)
                self._index = index
            elif self._store.read_only and version != self._version:
                self._bring_in_step(self._index)
            self._read_unread()
            self._version = version
            return self._index

    def _saved(self) -> Bm25:
        try:
            return read_snapshot(self._store, self._file)
        except SnapshotUnusable as reason:
            logger.info("keywords %s are read anew: %s", self._file, reason)
            return Bm25()

    def _bring_in_step(self, index: Bm25) -> None:
        there = np.array([row[0] for row in self._store.rows(SEARCHED_IDS, (self._namespace,))], np.int64)
        there.sort()
        here = index.ids()
        if np.array_equal(here, there):
            return
        gone, new = np.setdiff1d(here, there, assume_unique=True), np.setdiff1d(there, here, assume_unique=True)
        index.remove(gone)
        for start in range(0, len(new), READ_ROWS):
            self._read_into(index, new[start : start + READ_ROWS])
        self._changes += len(gone) + len(new)

    def _read_into(self, index: Bm25, ids: np.ndarray) -> None:
        rows = self._store.rows(
            "SELECT nodes.id, text, metadata FROM json_each(?2) CROSS JOIN nodes ON nodes.id = value "
            f"WHERE namespace = ?1 AND {SEARCHED} ORDER BY nodes.id",
            (self._namespace, json.dumps(ids.tolist())),
        )
        index.add(np.array([row[0] for row in rows], np.int64), *_documents(rows))

    def added(self, ids: Iterable[int]) -> None:
        """Take in nodes that were just committed."""
        with self._changing():
            if self._index is not None:  # else whoever loads will find them in the database
                self._unread += ids
                if len(self._unread) > READ_LATER:
                    self._read_unread()

    def _read_unread(self) -> None:
        if self._index is not None and self._unread:
            new = np.unique(np.array(self._unread, np.int64))
            new = new[~self._index.contains(new)]
            self._read_into(self._index, new)
            self._changes += len(new)
        self._unread = []

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that were just deleted; those that were not searched are passed over."""
        with self._changing():
            if self._index is not None:
                gone = np.unique(np.fromiter(ids, np.int64))
                gone = gone[self._index.contains(gone)]
                self._index.remove(gone)
                self._changes += len(gone)

    def _changing(self) -> AbstractContextManager[None]:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._index, self._unread, self._frequent = None, [], set()

    def reload(self) -> None:
        """Throw the index away; the next search reads it again."""
        with self._lock:
            self._throw_away()

    def rebuild(self) -> None:
        """Drop the index, also the saved one, and read it from the database."""
        with self._lock:
            self._throw_away()
            self._file.unlink(missing_ok=True)
            self.load()

    # -- the snapshot ------------------------------------------------------------------------------------------------

    def save(self, *, force: bool = False) -> bool:
        """Save the index when there is enough in it and enough of it changed; return whether that was done."""
        with self._changing():
            self._read_unread()
            index, changes = self._index, self._changes
            if index is None or self._store.read_only or not changes:
                return False
            if len(index) < MIN_SAVED:
                self._file.unlink(missing_ok=True)  # words of what was deleted would outlive it there
                return False
            if not force and changes < max(MIN_UNSAVED, len(index) // 50):
                return False
            content = _head(self._store, index) + b"\n" + index.snapshot()
        with replacing(self._file) as stream:
            stream.write(content)
        self._changes -= changes
        return True


def _head(store: Store, index: Bm25) -> bytes:
    """Return the first line of a snapshot. Ids say which node a text belongs to, in one database only: hence the moment
    at which the newest node came to be, which another database, or a restored backup, does not have."""
    ids = index.ids()
    newest = int(ids[-1]) if len(ids) else 0
    created = store.value("SELECT created FROM nodes WHERE id = ?", (newest,))
    return f"ruvllm keywords, terms {TERMS_VERSION}, newest {newest} of {created!r}".encode("ascii")


def _documents(rows: Iterable[tuple[int, str, str]]) -> Documents:
    """Return what is indexed of each (id, text, metadata): title, heading or question, then the text."""
    each = [
        terms(text if metadata == "{}" else f"{title_of(json.loads(metadata))} {text}") for _, text, metadata in rows
    ]
    indptr = np.zeros(len(each) + 1, np.int64)
    np.cumsum([len(one) for one in each], out=indptr[1:])
    return np.concatenate(each or [np.empty(0, np.uint64)]), indptr
