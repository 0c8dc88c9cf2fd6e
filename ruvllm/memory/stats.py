"""How much a brain holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ruvllm.memory.jobs import JobState
from ruvllm.memory.nearest import IndexState
from ruvllm.memory.store import Store
from ruvllm.metrics import Gauge

__all__ = ["MemoryStats", "gauges_of", "read_stats", "size_of"]


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
    enriched: int = 0  # texts that a local model has read for names


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
        "(SELECT count(*) FROM (SELECT session FROM interactions WHERE namespace = ?1 AND session IS NOT NULL "
        "UNION SELECT name FROM sessions WHERE namespace = ?1)), "
        "(SELECT value FROM meta WHERE key = 'embedder'), "
        "(SELECT count(*) FROM enrichments JOIN nodes ON id = node WHERE namespace = ?1)",
        (namespace,),
    )[0]
    on_probation, archived, edges, documents, interactions, feedback, sessions, embedder, enriched = row
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
        enriched=enriched,
    )


def gauges_of(stats: MemoryStats) -> list[Gauge]:
    """Return the same as metrics."""
    sizes = [
        ("nodes_on_probation", "Nodes that are not trusted yet.", stats.on_probation),
        ("nodes_archived", "Nodes in the cold tier.", stats.archived),
        ("edges", "Links between nodes.", stats.edges),
        ("nodes_enriched", "Nodes that a local model has read for names.", stats.enriched),
        ("documents", "Documents read in.", stats.documents),
        ("interactions", "Answered requests that are remembered.", stats.interactions),
        ("rated_interactions", "Of these, with feedback.", stats.feedback),
        ("sessions", "Conversations.", stats.sessions),
        ("indexed_vectors", "Vectors in the index in use.", stats.indexed),
        ("database_bytes", "Size of the database's files.", stats.database_bytes),
        ("index_bytes", "Size of the derived files.", stats.index_bytes),
        ("queued_records", "Answered requests that wait to be stored.", stats.queued),
        ("records_failed_total", "Answered requests that could not be stored.", stats.failed_records),
    ]
    gauges = [Gauge(f"ruvllm_{name}", help_, float(value)) for name, help_, value in sizes]
    for type_, count in stats.nodes_by_type.items():
        gauges.append(Gauge("ruvllm_nodes", "Nodes, by type.", count, {"type": type_}))
    for state in get_args(IndexState):
        is_it = float(state == stats.index)
        gauges.append(Gauge("ruvllm_index_state", "1 for how vectors are searched.", is_it, {"state": state}))
    return gauges


def size_of(files: Iterable[Path]) -> int:
    """Return how many bytes the regular files among `files` have."""
    return sum(file.stat().st_size for file in files if file.is_file())
