"""What a brain has grown to, with the statistics that `compact` lets SQLite take, costs no single call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from ruvllm.memory import Memory
from ruvllm.types import EdgeType, Feedback, NodeType

from .fakes import interaction

HUBS, SPOKES = 4, 500  # every spoke has an edge to every hub


@pytest.fixture
def old(memory: Memory) -> Memory:
    nodes = memory.insert_nodes(
        [f"hub {i}" for i in range(HUBS)] + [f"spoke {i} of many" for i in range(SPOKES)], type=NodeType.DOCUMENT
    )
    now = time.time()
    rows = [(spoke, hub, EdgeType.CITES.value, 0.5, now, now) for hub in nodes[:HUBS] for spoke in nodes[HUBS:]]
    insert = "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) VALUES (?, ?, ?, ?, ?, ?, '')"
    memory._store.write(lambda connection: connection.executemany(insert, rows))
    memory._store.write(lambda connection: connection.execute("ANALYZE"))
    for i in range(4):
        memory.record(interaction(f"a{i}", session=f"s{i}", answer=f"answer {i}", created=now, source_ids=(nodes[-1],)))
    memory.flush()
    return memory


@contextmanager
def most_rows(memory: Memory) -> Iterator[dict[str, int]]:
    """Give the rows that statements of the writer read from end to end, or into an index of their own."""
    read: dict[str, int] = {}

    def note(event: dict[str, Any]) -> None:
        status = event["stmt_status"]
        rows = status["SQLITE_STMTSTATUS_FULLSCAN_STEP"] + status["SQLITE_STMTSTATUS_AUTOINDEX"]
        read[event["sql"]] = max(rows, read.get(event["sql"], 0))

    writer = memory._store._writer
    assert writer is not None
    writer.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
    try:
        yield read
    finally:
        writer.trace_v2(0)


def test_no_call_reads_all_edges_or_nodes(old: Memory) -> None:
    with most_rows(old) as read:
        old.feedback("a0", Feedback(rating=5, rater="one"))
        old.feedback("a1", Feedback(rating=5, rater="two"))
        old.feedback("a2", Feedback(correction="something else"))
        old.ingest([{"text": "a new document", "source": "new"}])
        old.ingest([{"text": "a newer document", "source": "new"}])
        old.set_trust("new", 0.5)
        old.forget("new")
        old.forget("feedback:a2")
        old.revoke(old.interaction("a3").answer_node or 0)
        old.delete_session("s3")
    assert read
    assert {sql: rows for sql, rows in read.items() if rows > SPOKES // 2} == {}
