"""A brain that is open: its lock, its store, what is derived from it, and how it is closed."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ruvllm.closing import Closes
from ruvllm.config import Config, load_config
from ruvllm.errors import BrainError, BrainLocked, BrainReadOnly, ModelDamaged
from ruvllm.memory.archive import Archive
from ruvllm.memory.arguments import checked_file, checked_kind, checked_texts
from ruvllm.memory.cold_search import ColdSearch
from ruvllm.memory.decay import half_lives
from ruvllm.memory.derived import Derived
from ruvllm.memory.duplicates import Duplicates
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.failures import FailureLog
from ruvllm.memory.filters import PassingIds
from ruvllm.memory.history import Change
from ruvllm.memory.interactions import commit_interactions
from ruvllm.memory.keywords import Keywords
from ruvllm.memory.lessons import Lessons, insert_credits
from ruvllm.memory.linking import Linker
from ruvllm.memory.links import Links
from ruvllm.memory.links_snapshot import links_path
from ruvllm.memory.lock import WriterLock
from ruvllm.memory.merging import RecentAnswers
from ruvllm.memory.near_questions import RatedQuestions
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.rows import as_unit_rows, checked_text
from ruvllm.memory.search import GraphSearch
from ruvllm.memory.space import Space, require_same_embedder
from ruvllm.memory.store import Store
from ruvllm.memory.traits import Traits
from ruvllm.memory.usage import Usage
from ruvllm.memory.writeback import WriteBack
from ruvllm.types import Embedder, Interaction

__all__ = ["OpenedBrain"]

logger = logging.getLogger(__name__)

MAKING_S, LOOK_S = 5.0, 0.02  # longest wait for a database that its first writer is still making


class OpenedBrain(Closes):
    """The parts of a memory and their lifetimes; `Memory` says what the arguments are."""

    def __init__(
        self,
        path: str | Path,
        *,
        embedder: Embedder | None = None,
        config: Config | None = None,
        namespace: str = "default",
        read_only: bool = False,
    ) -> None:
        self.path = checked_file(path, "path")
        self.namespace = checked_text(namespace, "namespace")
        if config is not None:
            checked_kind(config, Config, "config")
        if embedder is not None:
            checked_kind(embedder, Embedder, "embedder")
        self.config = load_config(self.path / "ruvllm.toml") if config is None else config
        self._given = embedder
        self._checked: Embedder | None = None
        self._embedder_lock = threading.Lock()
        self._is_closed = False
        self._has_moved = False  # to another embedder, since it was opened
        self._make_folder(read_only)
        self._lock, self._why_read_only = self._take_lock(read_only)
        try:
            self._store = self._open_store(read_only)
            try:
                if embedder is not None:
                    require_same_embedder(self._store, embedder)
            except BaseException:
                self._store.close()
                raise
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        self._space = Space(self._store, self.path, self.config.embedding.dim, self._embedder)
        self._nearest = Nearest(
            self._store,
            self.path,
            namespace,
            self.config.index,
            project=self._space.project,
            space=self._space.dim_and_id,
        )
        self._keywords = Keywords(self._store, self.path, namespace)
        self._links = Links(
            self._store, namespace, half_lives(self.config.learning), file=links_path(self.path, namespace)
        )
        self._linker = Linker(self._store, namespace, self.config.linking)
        self._traits = Traits(self._store, namespace)
        self._passing = PassingIds(self._store, namespace)
        self._derived = Derived(self._nearest, self._keywords, self._links, self._linker, self._traits, self._passing)
        self._archive = Archive(self._store, self.path, namespace, self._derived)
        self._cold = ColdSearch(self._store, self._archive, namespace, half_lives(self.config.learning))
        self._lessons = Lessons(self._store, namespace, self.path, self._space.project)
        self._search = GraphSearch(
            self._store,
            self._nearest,
            self._keywords,
            self._links,
            self._linker,
            self._traits,
            self._passing,
            self._cold,
            self._lessons.engine,
            namespace,
            self.config.retrieval,
        )
        self._duplicates = Duplicates(self._store, self._nearest, self._space, namespace)
        self._recent = RecentAnswers()
        self._rated = RatedQuestions()
        durability = self.config.store
        self._writeback: WriteBack[Interaction] = WriteBack(
            self._commit_interactions, durability.flush_interval_s, durability.flush_batch
        )
        self._usage = Usage(self._store, durability.flush_interval_s)
        self._failures = FailureLog(self._store, namespace, durability.flush_interval_s)
        self._skipped_records = 0
        self._forgotten: dict[
            int, float
        ] = {}  # nodes that went with all made of them, and when; changed by writers only
        self._at_exit = _close_later(weakref.ref(self))
        atexit.register(self._at_exit)
        logger.info("opened %s%s", self.path, " for reading" if self.read_only else "")

    def _make_folder(self, read_only: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"path: {self.path} is not a directory")
        if not self.path.exists():
            if read_only:
                raise BrainReadOnly(f"{self.path} does not exist and cannot be made when reading only", path=self.path)
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BrainReadOnly(f"{self.path} cannot be made: {error.strerror}", path=self.path) from error

    def _take_lock(self, read_only: bool) -> tuple[WriterLock | None, BrainError | None]:
        if read_only:
            return None, BrainReadOnly(f"{self.path} was opened for reading only", path=self.path)
        try:
            return WriterLock.acquire(self.path), None
        except (BrainLocked, BrainReadOnly) as error:
            logger.info("%s", error)
            return None, error

    def _open_store(self, read_only: bool) -> Store:
        file = self.path / "brain.db"
        patience = time.monotonic() + (MAKING_S if isinstance(self._why_read_only, BrainLocked) else 0.0)
        while True:
            try:
                return Store(file, read_only=self.read_only)
            except BrainReadOnly as error:
                if self._lock is not None:  # the directory can be written, the database file cannot
                    self._lock.release()
                    self._lock, self._why_read_only = None, error
                elif not read_only and isinstance(self._why_read_only, BrainReadOnly):
                    raise BrainReadOnly(f"{error}; {self._why_read_only}", path=file) from error
                elif time.monotonic() >= patience:
                    raise
            time.sleep(LOOK_S)

    @property
    def read_only(self) -> bool:
        """Whether writing is refused here."""
        return self._lock is None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors of `texts`, by the brain's own embedder, opened at first use.

        Raises:
            TypeError, ValueError: a text is empty or not valid.
            ModelDamaged: the embedder gives NaN, infinities or zeros.
        """
        texts, embedder = checked_texts(texts, "texts"), self._embedder()
        vectors = embedder.encode(texts)
        try:
            return as_unit_rows(vectors, embedder.native_dim, "embedding")
        except ValueError as error:
            raise ModelDamaged(f"{embedder.id} gives no sound vectors: {error}", model=embedder.id) from error

    def flush(self) -> None:
        """Wait until queued records (or, after a second try, given up and counted) and counts of uses are on disk."""
        self._writeback.flush()
        self._usage.flush()
        self._failures.flush()

    def close(self) -> None:
        """Drain the queue, save the index if it changed much, let go of the lock. May be called twice.

        Ctrl-C meanwhile is raised once the queue is drained; a second one gives up what still waits.
        """
        if self._is_closed:
            return
        try:
            try:
                self._writeback.close()
            except BaseException:
                self._writeback.close()
                raise
            self._usage.close()
            self._failures.close()
            self._nearest.stop()
            self._save_derived()
        finally:
            self._is_closed = True
            atexit.unregister(self._at_exit)
            self._store.close()
            if self._lock is not None:
                self._lock.release()

    @with_one_embedder
    def _save_derived(self) -> None:
        for what, save in (
            ("index", self._nearest.save),
            ("keywords", self._keywords.save),
            ("links", self._links.save),
        ):
            try:
                save()
            except (OSError, BrainError) as error:  # derived: the next opening builds it again
                logger.warning("the %s of %s cannot be saved: %s", what, self.path, error)

    def __repr__(self) -> str:
        mode = ", read_only=True" if self.read_only else ""
        return f"Memory({str(self.path)!r}, namespace={self.namespace!r}{mode})"

    def require_open(self) -> None:
        """Raise ValueError where the memory is closed."""
        if self._is_closed:
            raise ValueError(f"{self.path} is closed")

    def require_writable(self) -> None:
        """Raise BrainLocked or BrainReadOnly where nothing can be written, ValueError where the memory is closed."""
        self.require_open()
        if isinstance(self._why_read_only, BrainLocked):
            raise BrainLocked(self.path, self._why_read_only.pid)
        if self._why_read_only is not None:
            raise BrainReadOnly(str(self._why_read_only), path=self.path)

    def _embedder(self) -> Embedder:
        """Return the embedder, opened at first use."""
        with self._embedder_lock:
            if self._checked is None or self.read_only:  # a writer may have moved the brain to another one
                if self._given is None:
                    from ruvllm.embedding import open_embedder

                    self._given = open_embedder(self.config.embedding, self.config.models)
                require_same_embedder(self._store, self._given)
                self._checked = self._given
            return self._checked

    def _checked_vector(self, vector: np.ndarray) -> np.ndarray:
        if np.ndim(vector) != 1:
            raise ValueError(f"query_vector must be one vector (shape {np.shape(vector)})")
        row: np.ndarray = as_unit_rows(vector, self._space.native_dim(), "query_vector")[0]
        return row

    def _commit_interactions(self, group: Sequence[Interaction]) -> int:
        """Commit a group of the queue with its credits; return how many of it could not be stored.

        What is no longer known of the searches behind it is searched again once the answers are safe.
        """
        min_quality = self.config.store.writeback_min_quality
        embedder = self._embedder()
        if self._has_moved:
            group = [_with_new_vectors(one, self.encode) for one in group]
        credits: dict[str, dict[int, float]] = {}
        with self._unattributed(len(group)):
            credits = self._lessons.credits(self._search, group)
        failed = commit_interactions(
            self._store,
            group,
            embedder,
            min_quality=min_quality,
            recent=self._recent,
            credits=credits,
            keeps_prompts=self.config.tuning.learns_from(self.namespace),
            forgotten=self._forgotten,
            on_linked=self._links.added,
        )
        for one in group:
            if one.source_ids and one.query_vector is not None and one.id not in credits:
                with self._unattributed(1):
                    rows = self._lessons.credits_again(self._search, one.id, one.answer)
                    self._store.write(partial(insert_credits, rows=rows))
        return failed

    def _follow(self, change: Change) -> None:
        """Let what is derived know what became of answers."""
        self._derived.removed(change.left)
        if change.vectors is not None:
            self._derived.added(change.came, change.vectors)
        self._derived.retrusted(change.stayed)

    @staticmethod
    @contextmanager
    def _unattributed(count: int) -> Iterator[None]:
        """Let no failure to attribute cost the answers; their sources have the credit of used and shown ones."""
        try:
            yield
        except Exception:
            logger.exception("%d answered requests are not attributed", count)


def _close_later(brain: weakref.ref[OpenedBrain]) -> Callable[[], None]:
    def close() -> None:
        alive = brain()
        if alive is not None:
            alive.close()

    return close


def _with_new_vectors(one: Interaction, encode: Callable[[list[str]], np.ndarray]) -> Interaction:
    """Return a record that was given vectors without them: they do not say which embedder they are by."""
    try:
        return replace(one, query_vector=encode([one.query])[0], answer_vector=None)
    except (ValueError, TypeError):  # no text: it is refused when it is to be stored
        return replace(one, query_vector=None, answer_vector=None)
