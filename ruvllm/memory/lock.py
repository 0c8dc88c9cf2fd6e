"""Who may write: one process per brain, by a lock file that names its pid."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ruvllm.errors import BrainLocked, BrainReadOnly

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["NoWriter", "ReadWriteLock", "WriterLock"]


class WriterLock:
    """The held right to write to one brain; the operating system takes it back when the process dies."""

    def __init__(self, path: Path, held: FileLock) -> None:
        self.path = path
        self._held = held

    @classmethod
    def acquire(cls, brain: Path) -> WriterLock:
        """Take the lock at once or not at all.

        Raises:
            BrainLocked: another opener, in this process or elsewhere, holds it.
            BrainReadOnly: the directory cannot be written.
        """
        from filelock import FileLock, Timeout

        path = brain / "lock"
        held = FileLock(path, timeout=0)
        try:
            held.acquire()
            path.write_text(f"{os.getpid()}\n", encoding="ascii")
        except Timeout as error:
            raise BrainLocked(brain, _owner(path)) from error
        except OSError as error:
            held.release()
            raise BrainReadOnly(f"{brain} cannot be written: {error.strerror or error}", path=brain) from error
        return cls(path, held)

    def release(self) -> None:
        """Let others write. May be called twice."""
        self._held.release()


class NoWriter:
    """The held certainty that nobody writes to a brain; any number of readers may hold it.

    Raises:
        OSError: somebody writes, or the lock file cannot be opened.
    """

    def __init__(self, brain: Path) -> None:
        self._handle: int | None = os.open(brain / "lock", os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Let others write. May be called twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _owner(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


class ReadWriteLock:
    """Many readers or one writer; who waits for the other kind comes before those who come later. Not reentrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._readers_waiting = 0
        self._is_readers_turn = False  # those that waited for a writer go before the next one
        self._writing = False
        self._writers_waiting = 0

    def acquire_read(self) -> None:
        """Wait until nobody writes, nor waited before to write."""
        with self._changed:
            self._readers_waiting += 1
            try:
                while self._writing or (self._writers_waiting and not self._is_readers_turn):
                    self._changed.wait()
                self._readers += 1
            finally:
                self._readers_waiting -= 1
                if self._is_readers_turn and not self._readers_waiting:
                    self._is_readers_turn = False
                    self._changed.notify_all()

    def release_read(self) -> None:
        """End what `acquire_read` began."""
        with self._changed:
            self._readers -= 1
            if not self._readers:
                self._changed.notify_all()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock beside other readers."""
        self.acquire_read()
        try:
            yield
        finally:
            self.release_read()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._changed:
            self._writers_waiting += 1
            try:
                while self._writing or self._readers or self._is_readers_turn:
                    self._changed.wait()
                self._writing = True
            finally:
                self._writers_waiting -= 1
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._is_readers_turn = self._readers_waiting > 0
                self._changed.notify_all()
