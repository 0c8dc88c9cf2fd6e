"""`ruvllm bench footprint`: what a brain of a given size holds in memory, part by part, without any model."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np

from ruvllm.bench.evaluation import Progress
from ruvllm.bench.process import peak_bytes, resident_bytes
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.config import Config
from ruvllm.memory import Memory
from ruvllm.memory.rows import insert_nodes
from ruvllm.memory.space import remember_embedder
from ruvllm.types import EdgeType, NodeType

__all__ = ["fill", "run"]

MIB = 1 << 20
TARGET_MIB = 4096.0  # of FULL_NODES and five times as many edges
FULL_NODES = 1_000_000
PART = 50_000  # nodes of one transaction, and a tenth of its edges: what is at random places is written once
VOCABULARY = 300_000
WORDS = 80  # of a text; about 110 tokens
ZIPF = 1.07  # exponent of how often a word is used
NAMES_PER_NODE = 1  # 1.5 in a corpus of encyclopedia articles, 0.3 in one of long ones
TOPICS = 1_000
DIM = 384
ID_BYTES = 12  # of a vector in the matrix: its id, and the place of the id
EDGE_TYPES = (EdgeType.CITES.value, EdgeType.SAME_TOPIC.value, EdgeType.SHARED_NAME.value)
QUESTIONS = 100
K = 10


class _Noise:
    """Whose vectors these are; it is asked for none."""

    id = "noise"
    native_dim = DIM

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        raise RuntimeError("every vector is given")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        raise RuntimeError("every text is stored as it is")


def run(nodes: int, edges: int, config: Config, *, seed: int = 0, on_progress: Progress) -> Report:
    """Return the resident memory of a process that opened such a brain and searched it, by what it was spent on.

    Texts are words of a Zipf distribution, vectors lie around topics, links are drawn at random: as many bytes as real
    ones, and made in minutes.
    """
    if nodes < 1 or edges < 0:
        raise ValueError(f"nodes must be >= 1 and edges >= 0 ({nodes}, {edges})")
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        brain = Path(folder)
        with Memory(brain, embedder=_Noise(), config=config) as memory:
            fill(memory, nodes, edges, np.random.default_rng(seed), on_progress=on_progress)
            memory._nearest.prepare()
            memory.compact()
            database = memory.stats().database_bytes
        held = _held(brain, config)
    total = held["search"]
    target = TARGET_MIB if nodes >= FULL_NODES else None
    rows = [Row("nodes", nodes, ""), Row("edges", edges, "")]
    before = 0.0
    for part, megabytes in held.items():
        if part not in ("peak", "p50"):
            rows.append(Row(part, megabytes - before, "MiB"))
            before = megabytes
    rows += [
        Row("resident", total, "MiB", target=target, met=None if target is None else total <= target),
        Row("resident at most, while it opened", held["peak"], "MiB"),
        Row("resident per node", total * MIB / nodes, "B"),
        Row("database on disk", database / MIB, "MiB"),
        Row("search without embedding, p50", held["p50"], "ms"),
    ]
    return make_report("footprint", rows)


def fill(memory: Memory, nodes: int, edges: int, rng: np.random.Generator, *, on_progress: Progress) -> None:
    """Write nodes with vectors, words and names into an empty brain, then links among them."""
    words = np.array([_word(i) for i in range(VOCABULARY)])
    share = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1) ** ZIPF)
    topics = _unit(rng.normal(size=(TOPICS, DIM)))
    for start in range(0, nodes, PART):
        count = min(PART, nodes - start)
        drawn = words[np.searchsorted(share, rng.random((count, WORDS)) * share[-1])]
        near = topics[rng.integers(0, TOPICS, count)] + rng.normal(scale=0.05, size=(count, DIM))
        memory._store.write(_nodes(memory.namespace, start, [" ".join(row) for row in drawn], _unit(near)))
        on_progress("nodes", start + count, nodes)
    for start in range(0, edges, 10 * PART):
        src = np.arange(start, min(start + 10 * PART, edges)) * nodes // edges + 1
        memory._store.write(_edges(src, rng.integers(1, nodes + 1, len(src)), rng))
        on_progress("edges", start + len(src), edges)


def _nodes(namespace: str, start: int, texts: Sequence[str], vectors: np.ndarray) -> Callable[[apsw.Connection], None]:
    def work(connection: apsw.Connection) -> None:
        remember_embedder(connection, _Noise())
        now = time.time()
        fixed = (namespace, NodeType.DOCUMENT.value)
        rows = [
            (*fixed, text, f"notes/{start + i}.md", "{}", now, now, 1.0, None, 0, None) for i, text in enumerate(texts)
        ]
        ids = insert_nodes(connection, rows, [""] * len(texts), vectors)
        connection.executemany(
            "INSERT INTO names (namespace, name, node) VALUES (?, ?, ?)",
            [
                (namespace, f"{_word(node)} {_word(7 * node + 1)} {_word(n)}", node)
                for node in ids
                for n in range(NAMES_PER_NODE)
            ],
        )

    return work


def _edges(src: np.ndarray, dst: np.ndarray, rng: np.random.Generator) -> Callable[[apsw.Connection], None]:
    weights = rng.uniform(0.2, 1.0, len(src))

    def work(connection: apsw.Connection) -> None:
        now = time.time()
        connection.executemany(
            "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?5, 'bench') ON CONFLICT DO NOTHING",
            [
                (a, b, EDGE_TYPES[i % len(EDGE_TYPES)], weight, now)
                for i, (a, b, weight) in enumerate(zip(src.tolist(), dst.tolist(), weights.tolist(), strict=True))
            ],
        )

    return work


def _word(number: int) -> str:
    """Return a word of its own for each number: its digits to the base 20, as consonants with vowels between."""
    letters = ""
    while True:
        number, digit = divmod(number, 20)
        letters += "bcdfghjklmnpqrstvwxz"[digit] + "aeiou"[(digit + len(letters)) % 5]
        if not number:
            return letters


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


# -- what it holds, in a process of its own ----------------------------------------------------------------------------


def _held(brain: Path, config: Config) -> dict[str, float]:
    given = json.dumps([str(brain), msgspec.to_builtins(config)])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ruvllm.bench.footprint"], input=given, capture_output=True, text=True, check=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _open(brain: str, config: Mapping[str, Any]) -> dict[str, float]:
    """Return how many MiB this process holds after each part of a brain is in memory, and how long a search takes."""
    held = {"Python and libraries": resident_bytes() / MIB}

    def now_with(part: str) -> None:
        held[part] = resident_bytes() / MIB

    rng = np.random.default_rng(1)
    with Memory(brain, embedder=_Noise(), config=msgspec.convert(config, Config)) as memory:
        node, text, blob = memory._store.rows("SELECT id, text, vector FROM nodes JOIN vectors ON node = id LIMIT 1")[0]
        memory._links.load()
        now_with("links")
        memory._keywords.load()
        now_with("keywords (BM25)")
        memory._linker.mentioned(text)
        now_with("names")
        memory._traits.of(np.array([node], np.int64))
        now_with("traits")
        matrix = memory._nearest.load()
        memory._nearest.settle()
        held["vectors (float16)"] = held["traits"] + len(matrix) * (2 * DIM + ID_BYTES) / MIB
        now_with(f"index ({memory.config.index.kind})")
        times = []
        vector = np.frombuffer(blob, "<f4")
        for question in rng.choice(text.split(), (QUESTIONS, 6)):
            started = time.perf_counter()
            memory.search(" ".join(question), K, query_vector=vector)
            times.append(1e3 * (time.perf_counter() - started))
        now_with("search")
        held["peak"] = peak_bytes() / MIB
        held["p50"] = float(np.median(times))
        return held


if __name__ == "__main__":
    print(json.dumps(_open(*json.load(sys.stdin))))
