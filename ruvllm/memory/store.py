"""The database file: one writer with group commit, a read-only connection per reading thread, errors in our words."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import apsw

from ruvllm.errors import BrainDamaged, BrainError, BrainReadOnly
from ruvllm.memory.lock import NoWriter
from ruvllm.memory.schema import MIGRATIONS, migrate, require_known

__all__ = ["Store", "fetch", "translated"]

logger = logging.getLogger(__name__)
T = TypeVar("T")
Work = Callable[[apsw.Connection], T]
After = Callable[[T], None]

BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 32_768  # of pages that the writer keeps: ingest and answers touch many all over the file, again and again
LOG_PAGES = 4000  # the log is folded into the database at 16 MB: most pages are written there many times over
MOST_LOG_PAGES = 8 * LOG_PAGES  # where reads overlap without a pause it only begins anew when readers are waited for
READERS_TIMEOUT_MS = 200


def fetch(connection: apsw.Connection, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
    """Return every row of one query on a connection that is in the caller's hands."""
    return list(connection.execute(sql, parameters))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the world into BrainError and its children; the file stays as it is."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise BrainDamaged(f"{path} is damaged: {error}; restore a backup", path=path) from error
    except (apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise BrainReadOnly(f"{path} cannot be written: {error}", path=path) from error
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.BusyError, apsw.NoMemError) as error:
        if _is_full(error):
            raise BrainError(f"{path}: the disk is full; nothing of this was written", path=path) from error
        raise BrainError(f"{path} cannot be used now: {error}", path=path) from error


def _is_full(error: apsw.Error) -> bool:
    """Return whether there is no room, be it for the database or for the shared memory beside it."""
    return isinstance(error, apsw.FullError) or getattr(error, "extendedresult", None) == apsw.SQLITE_IOERR_SHMSIZE


class _Ticket:
    """One caller's work in a group, and what came of it."""

    def __init__(self, work: Callable[[apsw.Connection], Any], after: Callable[[Any], None] | None) -> None:
        self.work = work
        self.after = after
        self.is_done = False
        self.value: Any = None
        self.error: Exception | None = None


class Store:
    """One open brain.db.

    Args:
        path: the database file, made when missing unless `read_only`.
        read_only: never write, also not to the files SQLite keeps beside a database.

    Raises:
        BrainDamaged, BrainTooNew, BrainReadOnly: the file cannot serve; it is left untouched.
        BrainError: the disk is full, and what its log holds cannot be read without room.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._is_closed = False
        self._uri_options = "mode=ro"
        self._local = threading.local()
        self._readers: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._readers_lock = threading.Lock()
        self._version_lock = threading.Lock()
        self._version_reader: apsw.Connection | None = None  # data_version counts for one connection
        self._writer_lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._waiting_lock = threading.Lock()
        self._writer: apsw.Connection | None = None
        self._changes_before = 0  # of the running transaction
        self._no_writer: NoWriter | None = None
        self._wait_at = MOST_LOG_PAGES  # of the log
        with translated(path):
            if not read_only:
                self._writer = self._open_writer()
                return
            try:
                self._open_read_only()
            except BaseException:
                self._close_readers()
                self._release()
                raise

    def _open_writer(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            if connection.readonly("main"):  # SQLite falls back to reading without a word
                raise BrainReadOnly(f"{self.path} cannot be written", path=self.path)
            require_known(connection, self.path)  # before the first write to a file that may not be ours
            connection.pragma("journal_mode", "WAL")
            connection.pragma("synchronous", "FULL")  # what is acknowledged survives a power cut
            connection.pragma("foreign_keys", True)
            connection.pragma("secure_delete", True)  # what is forgotten is overwritten
            connection.pragma("cache_size", -CACHE_KIB)
            connection.set_wal_hook(self._fold)
            migrate(connection, self.path)
        except BaseException as error:
            connection.close()
            if isinstance(error, apsw.Error) and _is_full(error):
                raise BrainReadOnly(f"{self.path} cannot be written: the disk is full", path=self.path) from error
            raise
        return connection

    def _fold(self, connection: apsw.Connection, name: str, pages: int) -> int:
        """Fold the log of so many pages into the database, after a commit; what fails is done after a later one."""
        if pages < LOG_PAGES:
            self._wait_at = MOST_LOG_PAGES
            return apsw.SQLITE_OK
        with suppress(apsw.Error):
            if pages < self._wait_at:
                connection.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_PASSIVE)
                return apsw.SQLITE_OK
            self._wait_at = pages + LOG_PAGES  # somebody reads for long: he is not waited for at each commit
            connection.set_busy_timeout(READERS_TIMEOUT_MS)
            try:
                connection.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_TRUNCATE)
            finally:
                connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        return apsw.SQLITE_OK

    def _open_read_only(self) -> None:
        if not self.path.exists():
            raise BrainReadOnly(f"{self.path} does not exist and cannot be made when reading only", path=self.path)
        try:
            version = require_known(self.reader(), self.path)
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError) as error:
            # WAL wants a shared-memory file beside the database; where none can be made, nobody writes either
            if isinstance(error, apsw.IOError):
                self._require_no_writer(error)
            wal = self.path.with_name(self.path.name + "-wal")
            if wal.exists() and wal.stat().st_size:
                if self._no_writer is not None:
                    reason = f"{self.path}: the disk is full, and what {wal.name} holds cannot be read without room"
                    raise BrainError(reason, path=self.path) from error
                logger.warning("%s holds changes that cannot be read from a read-only directory", wal)
            self._close_readers()
            self._local = threading.local()
            self._uri_options = "immutable=1"
            version = require_known(self.reader(), self.path)
        if version < len(MIGRATIONS):
            raise BrainReadOnly(
                f"{self.path} is empty or of an older version: open it for writing once", path=self.path
            )

    def _require_no_writer(self, error: apsw.IOError) -> None:
        """Keep writers away until this store is closed: there may be room again. Raise `error` where one is there."""
        if not _is_full(error):
            raise error
        try:
            self._no_writer = NoWriter(self.path.parent)
        except OSError:
            raise error from None

    def reader(self) -> apsw.Connection:
        """Return the calling thread's read-only connection."""
        connection = cast("apsw.Connection | None", getattr(self._local, "connection", None))
        if connection is None or self._is_closed:
            connection = self._local.connection = self._open_reader()
        return connection

    def _open_reader(self) -> apsw.Connection:
        with self._readers_lock:
            self._require_open()
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            uri = f"file:{quote(str(self.path.absolute()))}?{self._uri_options}"
            connection = apsw.Connection(uri, flags=flags)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._readers.add(connection)
            return connection

    def version(self) -> int:
        """Return a number that changes with every commit, whoever makes it; what is read afterwards is as new."""
        with self._version_lock, translated(self.path):
            if self._version_reader is None or self._is_closed:
                self._version_reader = self._open_reader()
            return int(self._version_reader.pragma("data_version"))

    def rows(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Return every row of one query, read on this thread's connection."""
        with translated(self.path):
            return list(self.reader().execute(sql, parameters))

    def integrity(self) -> list[str]:
        """Return what SQLite's own check of the file finds, at most 20 lines, by a connection that has read nothing.

        One that has would hold the full-text index against its structure as of that reading, and call it corrupt.
        """
        with translated(self.path), closing(self._open_reader()) as connection:
            found = [message for (message,) in connection.execute("PRAGMA integrity_check(20)")]
        return [message for message in found if message != "ok"]

    def value(self, sql: str, parameters: Any = ()) -> Any:
        """Return the first column of the first row; None when there is no row."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    def write(self, work: Work[T], *, after: After[T] | None = None) -> T:
        """Run `work` in a transaction and return its value once that is on disk.

        A free caller commits by itself; callers that wait meanwhile share the next commit, each in a savepoint, so that
        one that fails does not undo the others. `work` may run twice when somebody else's Ctrl-C undoes the group, so
        it must touch nothing but the connection. `after` gets the value right after the commit, in commit order.

        Raises:
            BrainReadOnly: this store only reads.
            BrainError: the disk is full or fails; nothing of `work` is left.
        """
        return self.write_together([(work, after)])[0]

    def write_together(self, works: Sequence[tuple[Work[T], After[T] | None]]) -> list[T]:
        """Run several works, (work, after) as `write` takes them, in one transaction; return their values in order.

        Raises:
            What the first work that failed raised; the others are done all the same.
        """
        tickets = [_Ticket(work, after) for work, after in works]
        with self._waiting_lock:
            self._waiting.extend(tickets)
        with self._writer_lock:
            if not all(ticket.is_done for ticket in tickets):
                self._commit_waiting(tickets)
        for ticket in tickets:
            if ticket.error is not None:
                raise ticket.error
        return [cast(T, ticket.value) for ticket in tickets]

    def _commit_waiting(self, own: Sequence[_Ticket]) -> None:
        with self._waiting_lock:
            group, self._waiting = self._waiting, []
        interrupt: BaseException | None = None
        try:
            with translated(self.path):
                self._commit(group)
        except Exception as error:
            for ticket in group:
                ticket.error = ticket.error or error
        except BaseException as error:  # Ctrl-C in the caller that leads
            if not any(ticket.is_done for ticket in own):  # nothing is committed: the others try again
                with self._waiting_lock:
                    self._waiting[:0] = [ticket for ticket in group if ticket not in own]
                raise
            interrupt = error
        for ticket in group:
            ticket.is_done = True
        with self._reading_what_was_written():
            for ticket in group:
                if ticket.error is None and ticket.after is not None:
                    try:
                        ticket.after(ticket.value)
                    except Exception as error:
                        ticket.error = error
                    except BaseException as error:  # Ctrl-C: the others' work is committed, and their hooks are due
                        interrupt = error
        if interrupt is not None:
            raise interrupt

    @contextmanager
    def _reading_what_was_written(self) -> Iterator[None]:
        """Let this thread, which holds the writer, read with it: a commit voids what others have in their cache."""
        own = getattr(self._local, "connection", None)
        self._local.connection = self._writer
        try:
            yield
        finally:
            self._local.connection = own

    def _commit(self, group: list[_Ticket]) -> None:
        """Run and commit a group; its tickets are done once that is on disk, whatever interrupts then."""
        writer = self._require_writer()
        have_run = False
        try:
            writer.execute("BEGIN IMMEDIATE")
            self._changes_before = writer.total_changes()
            if len(group) == 1:
                group[0].value = group[0].work(writer)
            else:
                for ticket in group:
                    self._run(writer, ticket)
            have_run = True
            writer.execute("COMMIT")
        finally:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            elif have_run:
                for ticket in group:
                    ticket.is_done = True

    def _run(self, writer: apsw.Connection, ticket: _Ticket) -> None:
        writer.execute("SAVEPOINT work")
        try:
            with translated(self.path):
                ticket.value = ticket.work(writer)
        except Exception as error:
            if not writer.in_transaction:  # disk full and the like undo the whole transaction
                raise
            ticket.error = error
            writer.execute("ROLLBACK TO work")
        writer.execute("RELEASE work")

    def has_written(self, connection: apsw.Connection) -> bool:
        """Return whether the transaction that runs on `connection` has changed anything so far."""
        return connection.total_changes() != self._changes_before

    @contextmanager
    def exclusive(self) -> Iterator[apsw.Connection]:
        """Hold the writing connection outside any transaction: for checkpoints and checks."""
        with self._writer_lock, translated(self.path):
            yield self._require_writer()

    def close(self) -> None:
        """Close every connection; the last one folds the log into the database. May be called twice."""
        with self._writer_lock:
            with self._readers_lock:
                self._is_closed = True
            self._close_readers()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._release()

    def _release(self) -> None:
        if self._no_writer is not None:
            self._no_writer.release()

    def _close_readers(self) -> None:
        with self._readers_lock:
            for connection in list(self._readers):
                with suppress(apsw.ThreadingViolationError):  # busy in its thread: closed when that lets go of it
                    connection.close()
            self._readers.clear()

    def _require_writer(self) -> apsw.Connection:
        self._require_open()
        if self._writer is None:
            raise BrainReadOnly(f"{self.path.parent} is open for reading only", path=self.path.parent)
        return self._writer

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self.path.parent} is closed")
