"""A memory over the word embedder, and a place where permissions count even for root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ruvllm.config import Config, load_config
from ruvllm.memory import Memory
from ruvllm.types import EdgeType, Feedback, TierOutcome

from .fakes import WordEmbedder, routed

NOBODY = 65534


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    return tmp_path / "brain"


@pytest.fixture
def open_memory(brain: Path) -> Iterator[Callable[..., Memory]]:
    """Open the test's brain, as often as wanted; all are closed at the end."""
    opened: list[Memory] = []

    def open_(path: Path = brain, **options: Any) -> Memory:
        options.setdefault("embedder", WordEmbedder())
        memory = Memory(path, **options)
        opened.append(memory)
        return memory

    yield open_
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    return open_memory()


@pytest.fixture
def filled(memory: Memory) -> Memory:
    """Something in every table, and gaps in the ids."""
    memory.add({"text": f"text{i} words", "source": f"s{i}", "title": f"T{i}"} for i in range(4))
    memory.forget("s3")
    memory.insert_edge(memory.insert_node("a fact"), 1, EdgeType.SAME_TOPIC)
    memory.put_names(1, ["text0"], "reader", 1)
    for id in ("a1", "a2"):  # the same words at the same moment
        memory.record(routed(id, source_ids=(1, 2), used_ids=(2,)))
    memory.add_outcomes("a1", [TierOutcome("large", latency_ms=9.0, answer="Unseen.", source_ids=(2, 1))])
    memory.feedback("a1", Feedback(rating=2, correction="corrected", marks={2: True}))

    def work(connection: apsw.Connection) -> None:
        connection.execute("UPDATE edges SET ended = 2e9 WHERE type = 'SameTopic'")
        connection.execute("INSERT INTO names VALUES ('default', 't one', 1), ('default', 'a one', 1)")
        connection.execute("INSERT INTO mentions VALUES ('default', -9223372036854775808, 1), ('default', 7, 2)")
        connection.execute("INSERT OR REPLACE INTO credits VALUES ('a1', 1, 0.75, 'attribution')")
        connection.execute("INSERT INTO signals VALUES ('a2', 'rephrase', 0.4, 2e9)")
        connection.execute("INSERT INTO co_retrievals VALUES (1, 2, 3)")

    memory._store.write(work)
    memory.new_session("no turns yet")
    memory.add([{"text": "text2 other words", "source": "s2"}])
    return memory


@pytest.fixture
def hnsw_config() -> Config:
    """HNSW from the first vectors on."""
    return load_config(environment={}, overrides={"index": {"exact_below": 10, "m": 8, "ef_construction": 64}})


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user whose permissions are checked, who runs the test."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        for parent, _, _ in os.walk(folder):
            os.chmod(parent, 0o700)
        shutil.rmtree(folder)
