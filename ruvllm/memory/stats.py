"""How much a brain holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ruvllm.memory.jobs import JobState
from ruvllm.memory.nearest import IndexState
from ruvllm.memory.store import Store

__all__ = ["MemoryStats", "read_stats", "size_of"]


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """What a brain holds; counts are of the opened namespace, sizes of the whole directory."""

    path: str
    namespace: str
    nodes: int
    nodes_by_type: dict[str, int]
    on_probation: int
    archived: int
    edges: int
    documents: int
    interactions: int
    feedback: int
    sessions: int
    index: IndexState
    indexed: int
    embedder: str | None
    database_bytes: int
    index_bytes: int
    queued: int
    failed_records: int
    schema_version: int
    read_only: bool
    jobs: tuple[JobState, ...] = ()  # that work in the background, by name


def read_stats(
    store: Store,
    brain: Path,
    namespace: str,
    *,
    index: IndexState,
    indexed: int,
    queued: int,
    failed_records: int,
    jobs: tuple[JobState, ...],
) -> MemoryStats:
    """Count what `namespace` holds and measure the directory."""
    row = store.rows(
        "SELECT (SELECT count(*) FROM nodes WHERE namespace = ?1 AND probation = 1), "
        "(SELECT count(*) FROM nodes WHERE namespace = ?1 AND tier = 'cold'), "
        "(SELECT count(*) FROM edges JOIN nodes ON id = src WHERE namespace = ?1), "
        "(SELECT count(*) FROM documents WHERE namespace = ?1), "
        "(SELECT count(*) FROM interactions WHERE namespace = ?1), "
        "(SELECT count(*) FROM feedback JOIN interactions i ON i.id = interaction WHERE namespace = ?1), "
        "(SELECT count(DISTINCT session) FROM interactions WHERE namespace = ?1), "
        "(SELECT value FROM meta WHERE key = 'embedder')",
        (namespace,),
    )[0]
    on_probation, archived, edges, documents, interactions, feedback, sessions, embedder = row
    count_by_type = "SELECT type, count(*) FROM nodes WHERE namespace = ? GROUP BY type ORDER BY type"
    by_type: dict[str, int] = dict(store.rows(count_by_type, (namespace,)))
    return MemoryStats(
        path=str(brain),
        namespace=namespace,
        nodes=sum(by_type.values()),
        nodes_by_type=by_type,
        on_probation=on_probation,
        archived=archived,
        edges=edges,
        documents=documents,
        interactions=interactions,
        feedback=feedback,
        sessions=sessions,
        index=index,
        indexed=indexed,
        embedder=embedder,
        database_bytes=size_of(brain.glob("brain.db*")),
        index_bytes=size_of((brain / "index").glob("*")),
        queued=queued,
        failed_records=failed_records,
        schema_version=store.value("PRAGMA user_version"),
        read_only=store.read_only,
        jobs=jobs,
    )


def size_of(files: Iterable[Path]) -> int:
    """Return how many bytes the regular files among `files` have."""
    return sum(file.stat().st_size for file in files if file.is_file())
