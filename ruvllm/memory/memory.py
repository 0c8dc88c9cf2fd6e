"""Memory: one directory that takes in documents, answers searches and remembers what was asked."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import numpy as np

from ruvllm.attention import AttentionEngine, Pattern
from ruvllm.attention.engine import Inputs
from ruvllm.attention.training import TrainingReport
from ruvllm.config import Config, load_config
from ruvllm.errors import BrainError, BrainLocked, BrainReadOnly, ModelDamaged
from ruvllm.memory.archive import Archive, ArchiveReport
from ruvllm.memory.around import read_around, read_most_linked
from ruvllm.memory.check import CheckReport, run_check
from ruvllm.memory.decay import DecayReport, apply_decay, half_lives, weight_left
from ruvllm.memory.derived import Derived
from ruvllm.memory.duplicates import Duplicates
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.export import export_brain
from ruvllm.memory.feedback import FeedbackChanges, apply_feedback
from ruvllm.memory.filters import seconds_of
from ruvllm.memory.gather import Sources
from ruvllm.memory.history import delete_ended
from ruvllm.memory.import_brain import import_brain
from ruvllm.memory.importers import ImportFormat, read_documents
from ruvllm.memory.ingest import Ingester, IngestProgress
from ruvllm.memory.interactions import Record, commit_interactions, read_record, read_sessions, read_turns
from ruvllm.memory.keywords import Keywords
from ruvllm.memory.lessons import Lessons
from ruvllm.memory.linking import Linker
from ruvllm.memory.links import Links
from ruvllm.memory.links_snapshot import links_path
from ruvllm.memory.lock import WriterLock
from ruvllm.memory.merging import RecentAnswers
from ruvllm.memory.nearest import Nearest, remove_all_saved
from ruvllm.memory.neighbours import Neighbours
from ruvllm.memory.newnodes import insert_new_nodes, new_node
from ruvllm.memory.outcomes import Moved, Outcome, apply_outcome, credits_of, named
from ruvllm.memory.phrases import find_phrase
from ruvllm.memory.probation import Change, promote, reconsider, revoke
from ruvllm.memory.reembed import ReembedProgress, reembed
from ruvllm.memory.rows import (
    EDGE_COLUMNS,
    NODE_COLUMNS,
    as_unit_rows,
    checked_text,
    checked_weight,
    edge_of,
    fetch_nodes,
    insert_edge,
    node_of,
)
from ruvllm.memory.search import GraphSearch
from ruvllm.memory.sources import Forgotten, SourceSummary, forget_source, read_sources, trust_source
from ruvllm.memory.space import Space, remember_embedder, require_same_embedder
from ruvllm.memory.stats import MemoryStats, read_stats, size_of
from ruvllm.memory.store import Store
from ruvllm.memory.traits import Traits
from ruvllm.memory.usage import Usage, read_co_retrieved
from ruvllm.memory.writeback import WriteBack
from ruvllm.types import (
    Edge,
    EdgeType,
    Embedder,
    Feedback,
    Filter,
    Hits,
    IngestReport,
    Interaction,
    Neighbourhood,
    Node,
    NodeType,
    Tier,
    Turn,
)

__all__ = ["CompactReport", "Memory"]

logger = logging.getLogger(__name__)

MAX_HOPS = 4
MAX_NODES = 1 << 31  # more than any brain holds
MAX_DRAWN = 500  # nobody reads more, and their places take seconds


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did; `indexed` vectors are in the index, 0 when there are too few to want one."""

    rebuilt: bool
    saved: bool
    indexed: int
    log_bytes: int
    seconds: float


class Memory:
    """A brain's memory. Safe from several threads; one process writes, others read.

    Args:
        path: the brain's directory, made when missing.
        embedder: text to vectors; the configured one, opened when a text first has to be embedded, when None.
        config: the whole configuration; `path`/ruvllm.toml, environment and defaults when None.
        namespace: which part of the brain is seen and written; nothing crosses from one to another.
        read_only: do not write, whoever else does.

    Raises:
        BrainTooNew, BrainDamaged: the directory holds a database that cannot be used; it is left as it is.
        BrainReadOnly: the directory does not exist and cannot be made.
        ValueError: the brain's vectors are by another embedder.

    When another process (or another Memory of this one) writes to the brain, or the directory cannot be written, it
    opens with `read_only` True: what would write raises BrainLocked or BrainReadOnly, everything else works.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        embedder: Embedder | None = None,
        config: Config | None = None,
        namespace: str = "default",
        read_only: bool = False,
    ) -> None:
        if not str(path):
            raise ValueError("path must not be empty")
        self.path = Path(path)
        self.namespace = checked_text(namespace, "namespace")
        self.config = load_config(self.path / "ruvllm.toml") if config is None else config
        self._given = embedder
        self._checked: Embedder | None = None
        self._embedder_lock = threading.Lock()
        self._is_closed = False
        self._has_moved = False  # to another embedder, since it was opened
        self._make_folder(read_only)
        self._lock, self._why_read_only = self._take_lock(read_only)
        try:
            self._store = self._open_store()
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
        self._derived = Derived(self._nearest, self._keywords, self._links, self._linker, self._traits)
        self._archive = Archive(self._store, self.path, namespace, self._derived)
        self._lessons = Lessons(self._store, namespace, self.path, self._space.project)
        self._search = GraphSearch(
            self._store,
            self._nearest,
            self._keywords,
            self._links,
            self._linker,
            self._traits,
            self._lessons.engine,
            namespace,
            self.config.retrieval,
        )
        self._duplicates = Duplicates(self._store, self._nearest, self._space, namespace)
        self._recent = RecentAnswers()
        durability = self.config.store
        self._writeback = WriteBack(self._commit_interactions, durability.flush_interval_s, durability.flush_batch)
        self._usage = Usage(self._store, durability.flush_interval_s)
        self._skipped_records = 0
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

    def _open_store(self) -> Store:
        file = self.path / "brain.db"
        try:
            return Store(file, read_only=self.read_only)
        except BrainReadOnly as error:  # the directory can be written, the database file cannot
            if self.read_only:
                raise
            if self._lock is not None:
                self._lock.release()
            self._lock, self._why_read_only = None, error
            return Store(file, read_only=True)

    @property
    def read_only(self) -> bool:
        """Whether writing is refused here."""
        return self._lock is None

    # -- documents ---------------------------------------------------------------------------------------------------

    def ingest(self, sources: Sources, *, on_progress: Callable[[IngestProgress], None] | None = None) -> IngestReport:
        """Read documents into memory; durable on return, idempotent, and free for unchanged documents.

        Args:
            sources: a file or a folder (read with all below it); or an iterable of paths and texts, in which a str that
                names nothing on disk is a text, and a mapping is a text with title, source and metadata.
            on_progress: called after every document.

        Raises:
            BrainLocked, BrainReadOnly: writing is refused here.
            BrainError: the disk is full; whole documents are in until then.

        A changed document replaces its chunks; the old ones are history. What cannot be read is listed in the report
        and the rest is stored.
        """
        self._require_writable()
        neighbours = Neighbours(self._nearest, self._space.project, self.config.linking)
        report = Ingester(
            self._store, self._derived, self._linker, neighbours, self._embedder, self.namespace, self.config.ingest
        ).ingest(sources, on_progress)
        if report.added or report.updated:
            self._nearest.prepare()
        return report

    def add(self, texts: Iterable[str | Mapping[str, Any]]) -> IngestReport:
        """Store texts, each a document: a str, or a mapping with text and perhaps title, source and metadata.

        A text under a source that is known replaces the one before it.
        """
        if isinstance(texts, str | Mapping):
            raise TypeError(f"texts must be an iterable of texts, not {type(texts).__name__}")
        return self.ingest({"text": text} if isinstance(text, str) else text for text in texts)

    def forget(self, source: str | Path, *, cascade: bool = True) -> int:
        """Delete a source, or all below a folder, and all that was derived from it; return how many nodes went.

        Args:
            source: its name, or a folder of sources.
            cascade: the answers that saw any of it and whatever else has a Derived edge to what goes, go too, with what
                was learned from those answers. Without it they stay and only their edges to the source go.

        Raises:
            ValueError: nothing is known by this name.
        """
        self._require_writable()
        self._writeback.flush()
        learning, now = self.config.learning, time.time()

        def after(gone: Forgotten) -> None:
            self._derived.removed(gone.nodes)
            self._links.reweighted(gone.edges)

        gone = self._store.write(
            lambda connection: forget_source(
                connection, self.namespace, str(source), cascade=cascade, config=learning, now=now
            ),
            after=after,
        )
        self._archive.tidy()
        return len(gone.nodes)

    def set_trust(self, source: str | Path, trust: float) -> int:
        """Say how far a source, or all below a folder, is trusted; return how many nodes that is. Durable on return.

        Trust multiplies the rank of a node; at 0 it is not found. A document keeps it when it is ingested again.

        Raises:
            ValueError: nothing is known by this name, or the trust is not in [0, 1].
        """
        self._require_writable()
        trust = checked_weight(trust, "trust")
        trusted = self._store.write(
            lambda connection: trust_source(connection, self.namespace, str(source), trust),
            after=self._derived.retrusted,
        )
        return len(trusted)

    def sources(self) -> list[SourceSummary]:
        """Return the ingested documents, in order of their names."""
        return read_sources(self._store, self.namespace)

    # -- search ------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Filter | None = None,
        session: str | None = None,
        hops: int | None = None,
        explain: bool = False,
        as_of: float | str | None = None,
        query_vector: np.ndarray | None = None,
    ) -> Hits:
        """Return the `k` best nodes for `query`, best first.

        Vectors, words and the names in the question give seeds; what is linked to the strongest of them is looked at,
        too; graph attention ranks it all, times trust. A document fills at most its share of the hits while others
        have something to say.

        Args:
            query: a question or words.
            k: nodes wanted; fewer come back when fewer are there.
            filter: field -> value, or a list of values of which any will do; see `condition_of`.
            session: its own answers, which are still on probation, are searched too (its questions only when the
                filter names a type: a question answers nothing).
            hops: edges followed from what the question names, in [0, 4]; the configured number when None.
            explain: give each hit the path that led to it and the reason.
            as_of: a past time, in seconds or ISO 8601: what held then is searched, by the links that held then, with
                today's weights; what was replaced since is found in its old wording. Reads the graph of that time.
            query_vector: (native_dim,) float32 embedding of `query`, when the caller has it already.

        Raises:
            ValueError: the query is empty, k is below 1, hops out of range, or a vector is not finite.
        """
        return self._searched(
            query,
            k,
            filter=filter,
            session=session,
            hops=hops,
            with_paths=explain,
            as_of=as_of,
            query_vector=query_vector,
        )

    def search_with_concept_boost(
        self, query: str, k: int = 10, *, boost: float = 1.5, filter: Filter | None = None, session: str | None = None
    ) -> Hits:
        """Return what `search` does with every concept `boost` times above itself and the best of what it contains.

        Raises:
            ValueError: the boost is below 1 or not finite.
        """
        if not (math.isfinite(boost) and boost >= 1.0):
            raise ValueError(f"boost must be >= 1 ({boost!r})")
        return self._searched(query, k, filter=filter, session=session, concept_boost=boost)

    @with_one_embedder
    def _searched(
        self,
        query: str,
        k: int,
        *,
        filter: Filter | None,
        session: str | None,
        hops: int | None = None,
        with_paths: bool = False,
        as_of: float | str | None = None,
        concept_boost: float = 1.0,
        query_vector: np.ndarray | None = None,
    ) -> Hits:
        checked_text(query, "query")
        k = min(_checked_count(k, "k"), MAX_NODES)
        if hops is not None and (isinstance(hops, bool) or hops not in range(MAX_HOPS + 1)):
            raise ValueError(f"hops must be a whole number in [0, {MAX_HOPS}] ({hops!r})")
        moment = None if as_of is None else seconds_of(as_of, "as_of")
        if self._space.known() is None:
            return Hits()
        native = self.encode([query])[0] if query_vector is None else self._checked_vector(query_vector)
        hits = self._search.search(
            query,
            native,
            self._space.project(native[np.newaxis])[0],
            k,
            filter=filter or None,
            session=session,
            hops=hops,
            concept_boost=concept_boost,
            with_paths=with_paths,
            as_of=moment,
        )
        if not self.read_only:
            self._usage.note([hit.node.id for hit in hits])
        return hits

    def find(self, phrase: str, k: int = 10, *, prefix: bool = False) -> list[Node]:
        """Return at most `k` nodes that hold the words of `phrase` next to each other, best first; no model is needed.

        Args:
            phrase: words, compared by their stems: "polar bear" also finds "polar bears".
            prefix: the last word may go on: "rescue sl" finds "rescue sled".

        Raises:
            ValueError: the phrase is empty, or k is below 1.
        """
        return find_phrase(
            self._store, self.namespace, checked_text(phrase, "phrase"), _checked_count(k, "k"), prefix=prefix
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors of `texts`, by the brain's own embedder, opened at first use.

        Raises:
            ValueError: a text is empty.
            ModelDamaged: the embedder gives NaN, infinities or zeros.
        """
        embedder = self._embedder()
        vectors = embedder.encode(texts)
        try:
            return as_unit_rows(vectors, embedder.native_dim, "embedding")
        except ValueError as error:
            raise ModelDamaged(f"{embedder.id} gives no sound vectors: {error}", model=embedder.id) from error

    def _checked_vector(self, vector: np.ndarray) -> np.ndarray:
        if np.ndim(vector) != 1:
            raise ValueError(f"query_vector must be one vector (shape {np.shape(vector)})")
        native_dim = int(self._store.value("SELECT value FROM meta WHERE key = 'native_dim'"))
        row: np.ndarray = as_unit_rows(vector, native_dim, "query_vector")[0]
        return row

    # -- graph -------------------------------------------------------------------------------------------------------

    def get(self, node_id: int) -> Node:
        """Return a node, an archived one with its whole text.

        Raises:
            KeyError: there is none of this id here.
            BrainError: it is archived and the cold file is missing.
        """
        rows = self._store.rows(
            f"SELECT {NODE_COLUMNS} FROM nodes WHERE id = ? AND namespace = ?", (node_id, self.namespace)
        )
        if not rows:
            raise KeyError(node_id)
        node = node_of(rows[0])
        return node if node.tier is Tier.HOT else replace(node, text=self._archive.read([node.id])[node.id][0])

    def neighbours(self, node_id: int, type: EdgeType | None = None) -> list[tuple[Edge, Node]]:
        """Return the edges from and to a node, heaviest first, each with the node at its other end.

        Weights are what is left of them now.
        Of an archived node there the text is its beginning.

        Raises:
            KeyError: there is no such node.
        """
        if not self._store.rows("SELECT 1 FROM nodes WHERE id = ? AND namespace = ?", (node_id, self.namespace)):
            raise KeyError(node_id)
        kind = None if type is None else EdgeType(type).value
        weight = f"edges.weight * {weight_left(half_lives(self.config.learning))}"
        rows = self._store.rows(
            f"SELECT {EDGE_COLUMNS.replace('edges.weight', f'{weight} AS left')} FROM edges "
            "WHERE (src = :node OR dst = :node) AND (:type IS NULL OR type = :type) ORDER BY left DESC, src, dst, type",
            {"node": node_id, "type": kind, "now": time.time()},
        )
        edges = [edge_of(row) for row in rows]
        ends = [edge.dst if edge.src == node_id else edge.src for edge in edges]
        nodes = fetch_nodes(self._store, ends)
        return [(edge, nodes[end]) for edge, end in zip(edges, ends, strict=True) if end in nodes]

    def neighbourhood(self, around: int | None = None, *, hops: int = 2, max_nodes: int = 60) -> Neighbourhood:
        """Return a node with what is linked to it, nearest and heaviest first, or the most linked nodes.

        Args:
            around: a node's id; the whole namespace when None.
            hops: edges from `around` to the farthest node, whichever way they point.
            max_nodes: 1 to 500.

        Raises:
            KeyError: there is no such node.
            ValueError: `hops` or `max_nodes` is out of range.
        """
        _checked_count(hops, "hops")
        if _checked_count(max_nodes, "max_nodes") > MAX_DRAWN:
            raise ValueError(f"max_nodes must be <= {MAX_DRAWN} ({max_nodes})")
        if around is None:
            return read_most_linked(self._store, self.namespace, max_nodes)
        self.get(around)
        return read_around(self._store, self.namespace, around, min(hops, max_nodes), max_nodes)

    def picture(
        self, file: str | Path, *, around: int | None = None, hops: int = 2, max_nodes: int = 60, seed: int = 0
    ) -> Path:
        """Draw a `neighbourhood` as SVG into `file` and return its path; the same `seed` gives the same places.

        Raises:
            KeyError: there is no such node.
            ValueError, OSError: `file` does not end in .svg, or cannot be written.
        """
        from ruvllm import viz

        return viz.picture(self.neighbourhood(around, hops=hops, max_nodes=max_nodes), file, seed=seed)

    def insert_node(
        self,
        text: str,
        *,
        type: NodeType = NodeType.FACT,
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        trust: float = 1.0,
    ) -> int:
        """Store a node and return its id; durable on return.

        A near-duplicate of the same type (cosine >= 0.95 and MinHash Jaccard >= 0.8) is not stored again: its id comes
        back and its use_count grows.

        Raises:
            ValueError: the text is empty, the trust is not in [0, 1], or the metadata is not JSON.
        """
        return self.insert_nodes([{"text": text, "metadata": metadata, "trust": trust}], type=type, source=source)[0]

    @with_one_embedder
    def insert_nodes(
        self,
        nodes: Iterable[str | Mapping[str, Any]],
        *,
        type: NodeType = NodeType.FACT,
        source: str | None = None,
    ) -> list[int]:
        """Store nodes in one transaction and return their ids; see `insert_node`. All or none, durable on return.

        Args:
            nodes: texts, or mappings with text and perhaps metadata and trust.

        Raises:
            TypeError, ValueError: a text is empty, a trust is not in [0, 1], or a metadata is not JSON.
        """
        self._require_writable()
        new = [new_node(node) for node in nodes]
        type = NodeType(type)
        if not new:
            return []
        vectors = self.encode([node.text for node in new])
        embedder = self._embedder()

        def work(connection: apsw.Connection) -> list[tuple[int, bool]]:
            remember_embedder(connection, embedder)
            return insert_new_nodes(connection, self._duplicates, new, vectors, type, self.namespace, source)

        def after(stored: list[tuple[int, bool]]) -> None:
            is_new = np.array([fresh for _, fresh in stored])
            if is_new.any():
                ids = [node_id for node_id, fresh in stored if fresh]
                self._derived.added(ids, vectors[is_new], are_linked=False)

        return [node_id for node_id, _ in self._store.write(work, after=after)]

    def insert_edge(self, src: int, dst: int, type: EdgeType, weight: float = 0.5, created_by: str = "user") -> None:
        """Link two nodes; an edge of this type between them takes the new weight. Durable on return.

        Raises:
            ValueError: a node does not exist, or the weight is not in [0, 1].
        """
        self._require_writable()
        type, weight, now = EdgeType(type), checked_weight(weight), time.time()

        def work(connection: apsw.Connection) -> None:
            for name, node_id in (("src", src), ("dst", dst)):
                known = connection.execute(
                    "SELECT 1 FROM nodes WHERE id = ? AND namespace = ?", (node_id, self.namespace)
                ).get
                if known is None:
                    raise ValueError(f"{name}: there is no node {node_id!r}")
            connection.execute(  # what outcomes did is no part of a new weight
                "DELETE FROM edge_moves WHERE src = ? AND dst = ? AND type = ?", (src, dst, type.value)
            )
            insert_edge(connection, src, dst, type, weight=weight, created_by=created_by, now=now)

        self._store.write(work, after=lambda _: self._links.linked(src, dst))

    def apply_outcome(
        self,
        nodes: Iterable[int],
        quality: float,
        success: bool | None = None,
        *,
        credits: Mapping[int, float] | None = None,
        rater: str = "local",
        id: str | None = None,
    ) -> int:
        """Strengthen every edge among `nodes` after a good outcome, weaken it after a bad one; durable on return.

        With a = 2 eta |quality - 1/2| credit, a weight w becomes w + a (1 - w) when the outcome is good (quality >= 1/2
        and success is not False), w - a w when it is bad (quality < 1/2 and success is not True); else nothing moves.

        Args:
            nodes: ids of what was used together.
            quality: in [0, 1].
            success: whether the task succeeded, None when unknown.
            credits: node id -> its part in the outcome, in [0, 1]; 1 for nodes not named. An edge has the smaller one
                of its two ends.
            rater: who says so; one rater moves one edge by at most `learning.max_move_per_day` in a UTC day.
            id: under the same id a later outcome replaces the earlier one.

        Returns:
            how many edges moved.

        Raises:
            ValueError: a number out of range, fewer than two nodes, or one that is unknown or archived.
        """
        self._require_writable()
        outcome, parts = Outcome(quality, success), credits_of(nodes, credits)
        name, rater, now = named(id), checked_text(rater, "rater"), time.time()

        def work(connection: apsw.Connection) -> Moved:
            return apply_outcome(
                connection, self.namespace, name, outcome, parts, rater=rater, config=self.config.learning, now=now
            )

        return self._store.write(work, after=lambda moved: self._links.reweighted(moved.edges)).count

    def apply_decay(self, rate: float | None = None, min_interactions: int = 5, floor: float = 0.05) -> DecayReport:
        """Make permanent what faded from all edges of the brain since their last use, and prune; as often as you like.

        Args:
            rate: share of a weight lost per day, in [0, 1), for edges of every type; their configured half-lives when
                None.
            min_interactions: edges with fewer outcomes than this are not pruned.
            floor: only edges whose weight is below it are pruned, and never those that say where something came from
                or belongs (Derived, Contains, Follows).
        """
        self._require_writable()
        return apply_decay(
            self._store, self._links, self.config.learning, rate=rate, min_interactions=min_interactions, floor=floor
        )

    def co_retrieved(self, node_id: int, k: int = 10) -> list[tuple[Node, int]]:
        """Return the nodes that searches found most often together with a node, each with how often.

        What was counted in the last `store.flush_interval_s` may not be among it; `flush` brings it in.

        Raises:
            KeyError: there is no such node.
        """
        self.get(node_id)
        return read_co_retrieved(self._store, node_id, min(_checked_count(k, "k"), MAX_NODES))

    # -- what was asked ----------------------------------------------------------------------------------------------

    def record(self, interaction: Interaction) -> None:
        """Queue an answered request; it is on disk after `store.flush_interval_s`, or after `flush` or `close`.

        Never raises: what cannot be stored is logged and counted in `stats`. Waits only while the queue is full.
        """
        try:
            self._require_writable()
            self._writeback.put(interaction)
        except (BrainError, ValueError) as error:
            self._skipped_records += 1
            logger.warning("an answered request is not remembered: %s", error)

    def _commit_interactions(self, group: Sequence[Interaction]) -> int:
        """Commit a group of the queue and attribute its answers; return how many of it could not be stored."""
        min_quality = self.config.store.writeback_min_quality
        embedder = self._embedder()
        if self._has_moved:
            group = [_with_new_vectors(one, self.encode) for one in group]
        failed = commit_interactions(self._store, group, embedder, min_quality=min_quality, on_linked=self._links.added)
        try:
            self._lessons.credit(self._search, group)
        except Exception:  # the answers are kept; their sources have the credit of used and shown ones
            logger.exception("%d answered requests are not attributed", len(group))
        return failed

    def flush(self) -> None:
        """Wait until queued records (or, after a second try, given up and counted) and counts of uses are on disk."""
        self._writeback.flush()
        self._usage.flush()

    @with_one_embedder
    def feedback(self, interaction_id: str, feedback: Feedback) -> None:
        """Say how good an answer was; durable on return, and the same words twice count once.

        The outcome moves the edges from the answer to its sources and among these, as `apply_outcome` does; a mark says
        whether one source helped and decides its credit. A correction becomes a fact of full trust that is searched at
        once and supersedes the answer. Good outcomes of two independent raters (or of two sessions) promote the answer
        from probation, bad ones of two end it.

        Raises:
            ValueError: the id is unknown, or a mark is of a source that the answer did not show.
        """
        self._require_writable()
        record = self.interaction(interaction_id)
        vectors = None
        if feedback.correction is not None:
            correction = checked_text(feedback.correction, "correction")
            vectors = self.encode([f"{record.query}\n{correction}" if record.query else correction])
        vector = None if vectors is None else vectors[0]

        def work(connection: apsw.Connection) -> tuple[FeedbackChanges, Change]:
            changes = apply_feedback(connection, interaction_id, feedback, vector, self.config.learning)
            return changes, reconsider(connection, interaction_id, time.time())

        def after(changed: tuple[FeedbackChanges, Change]) -> None:
            changes, change = changed
            self._links.reweighted(changes.edges)
            self._derived.removed(changes.removed)
            if vectors is not None and changes.inserted:
                self._derived.added(changes.inserted, vectors)
            self._follow(change)

        if feedback.correction is not None:
            self._lessons.credit_again(self._search, interaction_id, feedback.correction)
        self._store.write(work, after=after)

    def _follow(self, change: Change) -> None:
        self._derived.removed(change.left)
        if change.vectors is not None:
            self._derived.added(change.came, change.vectors)
        self._derived.retrusted(change.stayed)

    def promote(self, node_id: int) -> None:
        """Let everybody of the namespace find an answer that is on probation or ended; durable on return.

        Raises:
            ValueError: there is no such answer.
        """
        self._require_writable()
        self._store.write(lambda connection: promote(connection, node_id, self.namespace), after=self._follow)

    def revoke(self, node_id: int) -> None:
        """End an answer: nobody finds it any more, whatever is said about it; durable on return.

        Raises:
            ValueError: there is no such answer.
        """
        self._require_writable()
        now = time.time()
        self._store.write(lambda connection: revoke(connection, node_id, self.namespace, now), after=self._follow)

    def interaction(self, id: str) -> Record:
        """Return one answered request as it is stored; one that is still queued is committed first.

        Raises:
            ValueError: the id is unknown.
        """
        if any(one.id == id for one in self._writeback.pending()):
            self._writeback.flush()
        return read_record(self._store, self.namespace, id)

    def turns(self, session: str, limit: int = 20) -> list[Turn]:
        """Return the newest `limit` turns of a session, oldest first, those still queued included."""
        if limit < 1:
            raise ValueError(f"limit must be >= 1 ({limit})")
        queued = [
            (one.id, Turn(one.query, one.answer, one.created))
            for one in self._writeback.pending()
            if (one.namespace, one.session) == (self.namespace, session)
        ]
        turns = dict(read_turns(self._store, self.namespace, session, limit))
        return list((turns | dict(queued)).values())[-limit:]

    def sessions(self) -> list[str]:
        """Return the names of the stored sessions, the one used last first."""
        return read_sessions(self._store, self.namespace)

    # -- what outcomes taught ------------------------------------------------------------------------------------------

    def train_attention(self) -> TrainingReport:
        """Train the ranking on all answers that were rated good; durable on return.

        Credit goes to the sources that attribution, or a mark, says were needed. What ranks a held-out fifth of the
        answers worse than the untrained engine does is discarded; below ten good answers nothing is tried.
        """
        self._require_writable()
        self._writeback.flush()
        if self._space.known() is None:
            return TrainingReport(0, 0, None, None, accepted=False)
        return self._lessons.train(self._search)

    def train_on_patterns(self, patterns: Iterable[Pattern], *, learning_rate: float = 0.1) -> dict[EdgeType, float]:
        """Move the bias of each edge type by how good the answers were that used it; return the new biases.

        Raises:
            ValueError: a quality is not in [0, 1].
        """
        self._require_writable()
        engine = AttentionEngine(self._lessons.engine().params())
        biases = engine.train_on_patterns(patterns, learning_rate=learning_rate)
        self._lessons.adopt(engine.params(), {"patterns": True})
        return biases

    def rollback_attention(self) -> int:
        """Take the last change of the ranking back; return the version now in force, 0 for the untrained."""
        self._require_writable()
        return self._lessons.rollback()

    def get_edge_bias_weights(self) -> dict[EdgeType, float]:
        """Return the learnt bias of each edge type, 0 at the start: above it, such edges are followed more readily."""
        return self._lessons.engine().get_edge_bias_weights()

    @with_one_embedder
    def candidates(self, query: str, *, query_vector: np.ndarray | None = None) -> tuple[np.ndarray, Inputs] | None:
        """Return the node ids that a search looks at, (n,), and what the engine is given for them; None without any."""
        checked_text(query, "query")
        if self._space.known() is None:
            return None
        native = self.encode([query])[0] if query_vector is None else self._checked_vector(query_vector)
        return self._search.inputs(query, native, self._space.project(native[np.newaxis])[0], 10)

    # -- care --------------------------------------------------------------------------------------------------------

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
        )

    @with_one_embedder
    def check(self, *, repair: bool = False) -> CheckReport:
        """Compare database, vectors, keywords, index and files with each other; mend what can be made again.

        Raises:
            BrainLocked, BrainReadOnly: `repair` where writing is refused.
        """
        if repair:
            self._require_writable()
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
    def compact(self) -> CompactReport:
        """Delete history older than `store.history_days`, build the index anew when a fifth of it is deleted, save it,
        and fold the database's log into its file.

        Afterwards no text of what was forgotten is left in the database file.
        """
        self._require_writable()
        started = time.perf_counter()
        self._writeback.flush()
        self._store.write(lambda connection: delete_ended(connection, self.config.store.history_days, time.time()))
        self._archive.tidy()
        rebuilt = saved = False
        if self._space.known() is not None:
            rebuilt = self._nearest.compact()
            saved = self._nearest.save(force=True)
            self._keywords.load()
            saved = self._keywords.save(force=True) or saved
            saved = self._links.save() or saved
        log_bytes = size_of(self.path.glob("brain.db-wal"))
        with self._store.exclusive() as connection:
            connection.pragma("optimize")
            connection.execute("INSERT INTO keywords (keywords) VALUES ('optimize')")  # words of deleted nodes go
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return CompactReport(rebuilt, saved, self._nearest.indexed, log_bytes, time.perf_counter() - started)

    @with_one_embedder
    def run_archival(
        self, max_age_days: float = 90.0, min_use_count: int = 2, cold_path: str | Path | None = None
    ) -> ArchiveReport:
        """Move what is old and hardly used out of hot memory into a second file; `rehydrate` brings it back.

        A searched node whose last use is `max_age_days` ago and that was used less than `min_use_count` times is not
        searched any more; it keeps its edges, and `get` still reads its text. Concepts stay.

        Args:
            cold_path: the file, the same for all runs while it holds something; cold.db in the brain when None.

        Raises:
            ValueError: an age or count below 0, or archived nodes are in another file.
            BrainError: the file cannot be written, or is another brain's.
        """
        self._require_writable()
        if not (math.isfinite(max_age_days) and max_age_days >= 0):
            raise ValueError(f"max_age_days must be >= 0 ({max_age_days})")
        if min_use_count < 0:
            raise ValueError(f"min_use_count must be >= 0 ({min_use_count})")
        self._writeback.flush()
        return self._archive.run(max_age_days, min_use_count, None if cold_path is None else Path(cold_path))

    @with_one_embedder
    def rehydrate(self, ids: Iterable[int]) -> int:
        """Bring archived nodes back into search, used now; return how many came, without those that were there.

        Raises:
            KeyError: a node does not exist here.
            BrainError: the cold file, or a node in it, is missing.
        """
        self._require_writable()
        return self._archive.rehydrate(ids)

    def export(self, file: str | Path) -> int:
        """Write all namespaces to `file` as JSON Lines (gzip when it ends in .gz); return the lines written.

        Imported into an empty brain and exported again it is the same bytes.
        """
        self._writeback.flush()
        return export_brain(self._store, Path(file), self._archive)

    def import_file(
        self,
        file: str | Path,
        *,
        format: ImportFormat | None = None,
        on_progress: Callable[[IngestProgress], None] | None = None,
    ) -> int:
        """Add what `export` wrote, ids renumbered, or texts from elsewhere; return the lines or entries read.

        Texts come as a JSON list or JSON Lines of texts, of mappings as `add` takes them, of mem0-style memories or of
        LangChain documents. They are ingested as `add` does it: what is here already stays as it is.

        Args:
            file: compressed when its name ends in .gz.
            format: "brain", "texts", "mem0" or "langchain"; the file's first entry says so when None.
            on_progress: called after every text.

        Raises:
            ValueError: a line or an entry, which is named, is damaged, or the vectors are by another embedder; nothing
                is imported.
            BrainError: the embedder has no sound vector for a text; the others are stored.
        """
        self._require_writable()
        documents = read_documents(Path(file), format)
        if documents is not None:
            failures = self.ingest(documents, on_progress=on_progress).failures
            if failures:
                first = f"{failures[0].source}: {failures[0].reason}"
                raise BrainError(f"{len(failures)} of {len(documents)} texts are not stored; {first}", path=self.path)
            return len(documents)
        self._writeback.flush()
        embedder = self._given  # None while the configured one is not open
        lines = import_brain(self._store, Path(file), embedder=None if embedder is None else embedder.id)
        self._derived.reload()
        self._recent.forget()
        return lines

    def reembed(self, embedder: Embedder, *, on_progress: Callable[[ReembedProgress], None] | None = None) -> int:
        """Move the brain to another embedder: give every node a new vector; return how many were made in this call.

        Searches and writes go on with the old embedder, wait for a moment at the end and are answered by the new one
        from then on. A call that was interrupted or killed goes on where it was when it is made again.

        Raises:
            BrainLocked, BrainReadOnly: writing is refused here.
            ModelDamaged: the embedder gives NaN, infinities or zeros; the brain stays as it is.
            BrainError: nodes are archived; `rehydrate` them before.
        """
        self._require_writable()
        self._writeback.flush()

        def after() -> None:
            self._has_moved = True
            with self._embedder_lock:
                self._given = self._checked = embedder
            self._space.reload()
            self._derived.reload()

        return reembed(
            self._store,
            self._derived.embedder_lock,
            embedder,
            before=lambda: remove_all_saved(self.path),
            after=after,
            on_progress=on_progress,
        )

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
            except OSError as error:  # derived: the next opening builds it again
                logger.warning("the %s of %s cannot be saved: %s", what, self.path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        mode = ", read_only=True" if self.read_only else ""
        return f"Memory({str(self.path)!r}, namespace={self.namespace!r}{mode})"

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _require_writable(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self.path} is closed")
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


def _checked_count(count: int, name: str) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{name} must be a whole number >= 1 ({count!r})")
    return count


def _with_new_vectors(one: Interaction, encode: Callable[[list[str]], np.ndarray]) -> Interaction:
    """Return a record that was given vectors without them: they do not say which embedder they are by."""
    try:
        return replace(one, query_vector=encode([one.query])[0], answer_vector=None)
    except (ValueError, TypeError):  # no text: it is refused when it is to be stored
        return replace(one, query_vector=None, answer_vector=None)


def _close_later(memory: weakref.ref[Memory]) -> Callable[[], None]:
    def close() -> None:
        alive = memory()
        if alive is not None:
            alive.close()

    return close
