"""The care of a memory: counts, checks, compaction, archive, another embedder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

from ruvllm.memory.archive import ArchiveReport
from ruvllm.memory.arguments import checked_call, checked_count, checked_file, checked_ids, checked_kind
from ruvllm.memory.check import CheckReport, run_check
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.concepts import Concepts
from ruvllm.memory.filters import seconds_of
from ruvllm.memory.history import delete_ended
from ruvllm.memory.jobs import JobTable
from ruvllm.memory.nearest import remove_all_saved
from ruvllm.memory.reembed import ReembedProgress, reembed
from ruvllm.memory.stats import MemoryStats, read_stats, size_of
from ruvllm.memory.traces import delete_traces
from ruvllm.memory.tuning_run import drop_outdated_run
from ruvllm.types import Embedder, NodeType
from ruvllm.types.checks import is_number

__all__ = ["Care", "CompactReport"]

NEWEST_NODE = "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'nodes'"


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did; `indexed` vectors are in the index, 0 when there are too few to want one."""

    rebuilt: bool
    saved: bool
    indexed: int
    log_bytes: int
    seconds: float


class Care(Concepts):
    """What keeps a memory sound and small."""

    def stats(self) -> MemoryStats:
        """Return counts and sizes; needs neither model nor index."""
        return read_stats(
            self._store,
            self.path,
            self.namespace,
            index=self._nearest.state,
            indexed=self._nearest.indexed,
            queued=len(self._writeback.pending()),
            failed_records=self._writeback.failed + self._skipped_records,
            jobs=JobTable(self._store, self.namespace).states(),
        )

    def newest_node(self) -> int:
        """Return the largest id that a node of the brain ever had; no id is given twice."""
        newest: int = self._store.value(NEWEST_NODE)
        return newest

    def added_since(self, node: int, at: float) -> tuple[int, int]:
        """Return how many nodes to answer from have an id above `node`, and how many requests came after the time `at`.

        Whatever went meanwhile makes up for none of them. Questions and answers are not to answer from.

        Raises:
            TypeError, ValueError: `node` is no whole number >= 0, or `at` no time, in seconds or ISO 8601.
        """
        node, at = checked_count(node, "node", least=0), seconds_of(at, "at")
        sql = (
            "SELECT (SELECT count(*) FROM nodes WHERE +namespace = ?1 AND id > ?2 AND type NOT IN (?4, ?5)), "
            "(SELECT count(*) FROM interactions WHERE namespace = ?1 AND created > ?3)"
        )
        values = (self.namespace, node, at, NodeType.QUERY.value, NodeType.ANSWER.value)
        nodes, requests = self._store.rows(sql, values)[0]
        return nodes, requests

    @with_one_embedder
    def check(self, *, repair: bool = False) -> CheckReport:
        """Compare database, vectors, keywords, index and files with each other; mend what can be made again.

        Raises:
            BrainLocked, BrainReadOnly: `repair` where writing is refused.
        """
        if repair:
            self.require_writable()
        self._writeback.flush()
        return run_check(
            self._store,
            self._nearest,
            self._keywords,
            self._archive,
            self.path,
            space=self._space.known(),
            index_config=self.config.index,
            namespace=self.namespace,
            encode=self.encode if repair else None,
        )

    @with_one_embedder
    def compact(self, cancelled: Callable[[], bool] = lambda: False) -> CompactReport:
        """Delete history older than `store.history_days` and prompts kept for training that are older than
        `tuning.keep_days`, build the index anew when a fifth of it is deleted, save it,
        write the database anew where nodes were deleted since, and fold its log into its file.

        Afterwards no text of what was forgotten is left in the database file, unless another process reads in it all
        the while. Searches go on meanwhile, writes wait; on the disk there must be room for the database once more.

        Args:
            cancelled: asked between steps and while the index is built; True ends it there, and a later call goes on.
        """
        self.require_writable()
        checked_call(cancelled, "cancelled")
        started = time.perf_counter()
        self._writeback.flush()
        rebuilt = saved = False

        def report(log_bytes: int = 0) -> CompactReport:
            return CompactReport(rebuilt, saved, self._nearest.indexed, log_bytes, time.perf_counter() - started)

        self._store.write(
            lambda connection: delete_ended(connection, self.config.store.history_days, time.time()),
            after=lambda gone: self._derived.removed(gone) if gone else None,
        )
        self._store.write(lambda connection: delete_traces(connection, self.config.tuning.keep_days, time.time()))
        self._archive.compact()
        drop_outdated_run(self._store, self.path)
        if self._space.known() is not None:
            rebuilt = self._nearest.compact(cancelled)
            if cancelled():
                return report()
            if rebuilt:  # much is gone: graph and tables are read anew, without the room that it took
                self._links.reload()
                self._traits.reload()
            saved = self._nearest.save(force=True)
            self._keywords.load()
            saved = self._keywords.save(force=True) or saved
            saved = self._links.save() or saved
        if cancelled():
            return report()
        log_bytes = size_of(self.path.glob("brain.db-wal"))
        with self._store.exclusive() as connection:
            connection.pragma("optimize")
            connection.execute("INSERT INTO keywords (keywords) VALUES ('optimize')")  # words of deleted nodes go
            _vacuum(connection)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return report(log_bytes)

    def index_wants_rebuild(self) -> bool:
        """Return whether so much of the vector index is deleted that `compact` would build it anew."""
        return self._nearest.wants_rebuild

    @with_one_embedder
    def run_archival(
        self, max_age_days: float = 90.0, min_use_count: int = 2, cold_path: str | Path | None = None
    ) -> ArchiveReport:
        """Move what is old and hardly used out of hot memory into a second file; `rehydrate` brings it back.

        A searched node whose last use is `max_age_days` ago and that was used less than `min_use_count` times leaves
        index, words and graph; it keeps its edges in the database, and `get` still reads its text. Concepts and answers
        stay, and where there are concepts, searches find what is archived through them, read from disk. `compact` gives
        the memory back.

        Args:
            cold_path: the file, the same for all runs while it holds something; cold.db in the brain when None.

        Raises:
            TypeError, ValueError: an age or count below 0, no path, or archived nodes are in another file.
            BrainError: the file cannot be written, or is another brain's.
        """
        self.require_writable()
        if not (is_number(max_age_days) and max_age_days >= 0):
            raise ValueError(f"max_age_days must be >= 0 ({max_age_days!r})")
        min_use_count = checked_count(min_use_count, "min_use_count", least=0)
        file = None if cold_path is None else checked_file(cold_path, "cold_path")
        self._writeback.flush()
        report = self._archive.run(max_age_days, min_use_count, file)
        self.file_archived()  # also what an earlier run, which failed there, has left without a place
        return report

    @with_one_embedder
    def rehydrate(self, ids: Iterable[int]) -> int:
        """Bring archived nodes back into search, used now; return how many came, without those that were there.

        Raises:
            KeyError: a node does not exist here.
            BrainError: the cold file, or a node in it, is missing.
        """
        self.require_writable()
        back = self._archive.rehydrate(checked_ids(ids, "ids"))
        self._cold.reload()
        return back

    def reembed(self, embedder: Embedder, *, on_progress: Callable[[ReembedProgress], None] | None = None) -> int:
        """Move the brain to another embedder: give every node a new vector; return how many were made in this call.

        Searches and writes go on with the old embedder, wait for a moment at the end and are answered by the new one
        from then on. A call that was interrupted or killed goes on where it was when it is made again.

        Raises:
            BrainLocked, BrainReadOnly: writing is refused here.
            ModelDamaged: the embedder gives NaN, infinities or zeros; the brain stays as it is.
            BrainError: nodes are archived; `rehydrate` them before.
        """
        self.require_writable()
        checked_kind(embedder, Embedder, "embedder")
        if on_progress is not None:
            checked_call(on_progress, "on_progress")
        self._writeback.flush()
        self._archive.tidy()  # what an interrupted `rehydrate` left on shelves has vectors by the old one

        def after() -> None:
            self._has_moved = True
            self._rated.forget()
            with self._embedder_lock:
                self._given = self._checked = embedder
            self._space.reload()
            self._derived.reload()
            self._cold.reload()

        return reembed(
            self._store,
            self._derived.embedder_lock,
            embedder,
            before=lambda: remove_all_saved(self.path),
            after=after,
            on_progress=on_progress,
        )


def _vacuum(connection: apsw.Connection) -> None:
    """Write the database anew unless no node was deleted since: a row that moves leaves a copy in its page, which
    secure_delete does not see."""
    sql = f"SELECT ({NEWEST_NODE}) - (SELECT count(*) FROM nodes)"
    deleted = str(connection.execute(sql).get)  # ever: ids are never used again
    if connection.execute("SELECT ifnull(max(value), '0') FROM meta WHERE key = 'vacuumed'").get != deleted:
        connection.execute("VACUUM")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('vacuumed', ?)", (deleted,))
