"""Compression: clusters become concepts, again only where they changed; concepts of concepts; nothing else moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ruvllm.config import CompressionConfig
from ruvllm.inference.engine import Engine
from ruvllm.learning.concepts import ClusterSummarizer, TermCounts
from ruvllm.memory import Cluster, Memory, StoredConcept

__all__ = ["ClusterRow", "CompressionReport", "compress"]

MIN_CONCEPTS = 12  # of one level that there must be for another one above it
LOOSER = 0.8  # density that concepts of the next level need, of what is needed below it: they are farther apart
BACKGROUND_NODES = 5000  # whose words a cluster's own are weighed against

State = Literal["new", "changed", "kept"]


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A cluster as a report shows it; `summary` is how its concept came to be, "" where none was made."""

    level: int
    size: int
    density: float
    state: State
    title: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class CompressionReport:
    """What a pass found and did.

    Attributes:
        made, changed, kept, dissolved: concepts.
        sentences, supported: that a model wrote, and those of them that the members support.
        reachable: archived nodes that searches reach through concepts.
        finished: False when it was cancelled; what was made until then stays.
    """

    clusters: tuple[ClusterRow, ...]
    made: int
    changed: int
    kept: int
    dissolved: int
    generated: int
    sentences: int
    supported: int
    reachable: int
    seconds: float
    finished: bool


def compress(
    memory: Memory,
    engine: Callable[[], AbstractContextManager[Engine | None]],
    config: CompressionConfig,
    *,
    is_local: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
    dry_run: bool = False,
) -> CompressionReport:
    """Find clusters, write a concept for each that is new or changed, dissolve what fell apart; durable on return.

    Each concept is one transaction. A concept whose hot members are nearly those of a cluster (the share of those that
    joined or left is at most `config.changed_share`) stays as it is.

    Args:
        engine: lends the model that sums up, asked when something is to be written; None where there is none.
        is_local: it is no endpoint. A cluster that holds something private is shown to none, and quoted.
        cancelled: asked often; when True the pass ends after the transaction it is in.
        dry_run: look, and write nothing.
    """
    started = time.perf_counter()
    run = _Pass(memory, engine, config, is_local, cancelled, dry_run)
    finished = run.all_levels()
    reachable = 0 if dry_run else memory.file_archived()
    states = [row.state for row in run.rows]
    return CompressionReport(
        clusters=tuple(run.rows),
        made=states.count("new"),
        changed=states.count("changed"),
        kept=states.count("kept"),
        dissolved=run.dissolved,
        generated=sum(row.summary == "generated" for row in run.rows),
        sentences=run.sentences,
        supported=run.supported,
        reachable=reachable,
        seconds=time.perf_counter() - started,
        finished=finished,
    )


class _Pass:
    def __init__(
        self,
        memory: Memory,
        engine: Callable[[], AbstractContextManager[Engine | None]],
        config: CompressionConfig,
        is_local: bool,
        cancelled: Callable[[], bool],
        dry_run: bool,
    ) -> None:
        self._memory = memory
        self._engine = engine
        self._config = config
        self._is_local = is_local
        self._cancelled = cancelled
        self._dry_run = dry_run
        self.rows: list[ClusterRow] = []
        self.dissolved = self.sentences = self.supported = 0

    def all_levels(self) -> bool:
        """Return whether it came to the end."""
        density = self._config.min_density
        below: np.ndarray | None = None
        for level in range(1, self._config.max_levels + 1):
            clusters = self._memory.detect_clusters(
                self._config.min_size, density, among=below, must_stop=self._cancelled
            )
            if self._cancelled():
                return False
            if not self._level(level, clusters) or self._cancelled():
                return False
            ids = [one.id for one in self._memory.concepts() if one.level == level]
            if len(ids) < MIN_CONCEPTS:
                break
            below, density = np.array(ids, np.int64), LOOSER * density
        return True

    def _level(self, level: int, clusters: Sequence[Cluster]) -> bool:
        known = [one for one in self._memory.concepts() if one.level == level]
        plan = list(_matched(clusters, known, self._config.changed_share))
        wanted = [(cluster, old) for cluster, old, is_kept in plan if not is_kept]
        for cluster, old, is_kept in plan:
            if is_kept and old is not None:
                title = str(old.metadata.get("title", ""))
                self.rows.append(ClusterRow(level, len(cluster), cluster.density, "kept", title))
        self._dissolve(known, {old.id for _, old, _ in plan if old is not None})
        if not wanted:
            return True
        background = self._background(clusters)
        if self._dry_run:
            for cluster, old in wanted:
                title = ", ".join(background.keywords(self._texts(cluster.nodes), 3))
                self.rows.append(
                    ClusterRow(level, len(cluster), cluster.density, "new" if old is None else "changed", title)
                )
            return True
        with self._engine() as engine:
            return all(self._write(level, cluster, old, engine, background) for cluster, old in wanted)

    def _write(
        self, level: int, cluster: Cluster, old: StoredConcept | None, engine: Engine | None, background: TermCounts
    ) -> bool:
        """Make one concept; return False when it was cancelled."""
        archived = dict.fromkeys(sorted(old.archived) if old is not None else (), 0.5)
        nodes = [*cluster.nodes, *archived]
        texts = self._texts(nodes)
        if not texts:  # all members went meanwhile
            return True
        may_read = self._is_local or not self._memory.private_among(nodes)
        summarizer = ClusterSummarizer(engine if may_read else None, self._memory.encode, background)
        concept = summarizer.summarize(texts, cancelled=self._cancelled, level=level, density=cluster.density)
        if concept is None or self._cancelled():
            return False
        members = dict(zip(cluster.nodes, self._memory.nearness(cluster), strict=True))
        node = self._memory.put_concept(concept, archived | members, replaces=None if old is None else old.id)
        if node is not None:  # else a member went meanwhile: the next pass sees to it
            self.sentences += int(concept.metadata.get("sentences", 0))
            self.supported += int(concept.metadata.get("supported", 0))
            self.rows.append(
                ClusterRow(
                    level,
                    len(cluster),
                    cluster.density,
                    "new" if old is None else "changed",
                    str(concept.metadata["title"]),
                    str(concept.metadata["summary"]),
                )
            )
        return True

    def _dissolve(self, known: Sequence[StoredConcept], matched: set[int]) -> None:
        """Dissolve concepts that are no cluster any more; one behind which something is archived stays for that."""
        for one in known:
            fell_apart = one.id not in matched and not (one.archived and one.is_sound)
            if fell_apart:
                with suppress(KeyError):  # it, or what is archived behind it, was forgotten meanwhile
                    if not self._dry_run:
                        self._memory.dissolve_concept(one.id)
                    self.dissolved += 1

    def _background(self, clusters: Sequence[Cluster]) -> TermCounts:
        nodes = [node for cluster in clusters for node in cluster.nodes]
        step = max(1, len(nodes) // BACKGROUND_NODES)
        return TermCounts(self._texts(nodes[::step]))

    def _texts(self, nodes: Sequence[int]) -> list[str]:
        texts = self._memory.texts(nodes)
        return [texts[node] for node in nodes if node in texts]


def _matched(
    clusters: Sequence[Cluster], known: Sequence[StoredConcept], changed_share: float
) -> Iterator[tuple[Cluster, StoredConcept | None, bool]]:
    """Yield each cluster with the concept it is the successor of, if any, and whether that can stay as it is.

    A concept goes to the cluster that has the most of its hot members, of two that have as many to the larger one.
    """
    owner = {node: one for one in known for node in one.members}
    by_id = {one.id: one for one in known}
    taken: set[int] = set()
    shared: list[tuple[int, int, StoredConcept]] = []
    for number, cluster in enumerate(clusters):
        counts: dict[int, int] = {}
        for node in cluster.nodes:
            if node in owner:
                counts[owner[node].id] = counts.get(owner[node].id, 0) + 1
        shared += [(-count, number, by_id[id_]) for id_, count in counts.items()]
    successor: dict[int, StoredConcept] = {}
    for _, number, one in sorted(shared, key=lambda entry: (entry[0], entry[1], entry[2].id)):
        if number not in successor and one.id not in taken:
            successor[number] = one
            taken.add(one.id)
    for number, cluster in enumerate(clusters):
        old = successor.get(number)
        yield cluster, old, old is not None and old.is_sound and _change(cluster, old) <= changed_share


def _change(cluster: Cluster, old: StoredConcept) -> float:
    """Return the share of all nodes of either that joined or left; what is archived has not left."""
    before, now = set(old.members), set(cluster.nodes)
    moved = (before - old.archived) ^ (now - old.archived)
    return len(moved) / len(before | now)
