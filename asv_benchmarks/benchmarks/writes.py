"""Durable writes beside a plain script that puts the same rows into the same schema with apsw, in as many commits.

What one disk can sync a second decides over single writes: read the two side by side, not from two machines.
RUVLLM_BENCH_SMALL=1 writes a fifth.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import apsw
import numpy as np

from ruvllm.memory import Memory
from ruvllm.memory.interactions import commit_interactions
from ruvllm.memory.merging import RecentAnswers
from ruvllm.memory.schema import migrate
from ruvllm.types import Interaction, Route

from .ingest import DIM, WORDS, RandomEmbedder

SMALL = bool(os.environ.get("RUVLLM_BENCH_SMALL"))
WRITES = 200 if SMALL else 1000
KNOWN = 200  # nodes before
SOURCES = 5  # of these shown for an answer; one is used


def texts(n: int, seed: int, words: int = 60) -> list[str]:
    """Return `n` texts of Zipf-distributed words, each another."""
    rng = np.random.default_rng(seed)
    ranks = np.minimum(rng.zipf(1.3, (n, words)), len(WORDS)) - 1
    return [f"number {i} of {seed}: " + " ".join(WORDS[r] for r in row) for i, row in enumerate(ranks)]


def random_vectors(n: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def answered(n: int, seed: int) -> list[Interaction]:
    """Return `n` answered requests that were shown SOURCES of the KNOWN nodes each."""
    rng, vectors = np.random.default_rng(seed), random_vectors(2 * n, seed).reshape(n, 2, -1)
    questions, answers = texts(n, seed, words=12), texts(n, seed + 1, words=40)
    shown = np.argsort(rng.random((n, KNOWN)), axis=1)[:, :SOURCES] + 1
    return [
        Interaction(
            id=f"{seed}-{i}",
            query=questions[i],
            answer=answers[i],
            namespace="default",
            session=f"session {i % 20}",
            created=time.time(),
            source_ids=tuple(shown[i].tolist()),
            used_ids=(int(shown[i, 0]),),
            route=Route("reader", 2048, 0.0, 1.0),
            confidence=0.9,
            finish_reason="stop",
            timings_ms={"total": 12.5},
            query_vector=vectors[i, 0],
            answer_vector=vectors[i, 1],
        )
        for i in range(n)
    ]


class Bare:
    """The rows that a memory writes, and nothing else: no duplicate is looked for, nothing kept in step."""

    NODE = (
        "INSERT INTO nodes (namespace, type, text, source, metadata, created, last_used, trust, session, probation, "
        "document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    EDGE = (
        "INSERT INTO edges (src, dst, type, weight, last_used, created, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)"
    )

    def __init__(self, folder: Path) -> None:
        self.embedder = RandomEmbedder()
        self.connection = apsw.Connection(str(folder / "bare.db"))
        self.connection.pragma("journal_mode", "WAL")
        self.connection.pragma("synchronous", "FULL")
        self.connection.pragma("foreign_keys", True)
        migrate(self.connection, folder / "bare.db")

    def insert_nodes(self, texts: Sequence[str]) -> None:
        vectors, now = self.embedder.encode(texts), time.time()
        self.connection.execute("BEGIN IMMEDIATE")
        for text, vector in zip(texts, vectors, strict=True):
            self._node(text, vector, ("default", "Fact", text, None, "{}", now, now, 1.0, None, 0, None))
        self.connection.execute("COMMIT")

    def _node(self, text: str, vector: np.ndarray, row: Sequence[object]) -> int:
        self.connection.execute(self.NODE, row)
        node = self.connection.last_insert_rowid()
        self.connection.execute("INSERT INTO vectors (node, vector) VALUES (?, ?)", (node, vector.tobytes()))
        self.connection.execute("INSERT INTO keywords (rowid, title, body) VALUES (?, ?, ?)", (node, "", text))
        return node

    def insert_answered(self, group: Sequence[Interaction]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for one in group:
            self._answered(one)
        self.connection.execute("COMMIT")

    def _answered(self, one: Interaction) -> None:
        metadata, now = json.dumps({"interaction": one.id}), one.created
        query, answer = (
            self._node(text, vector, ("default", type, text, None, metadata, now, now, 0.3, one.session, 1, None))
            for text, vector, type in (
                (one.query, one.query_vector, "Query"),
                (one.answer, one.answer_vector, "Answer"),
            )
        )
        edges = [(query, answer, "Follows", 0.5, now, "ask")]
        edges += [
            (answer, node, "Derived", 0.6 if node in one.used_ids else 0.4, now, "ask") for node in one.source_ids
        ]
        edges += [(answer, node, "Cites", 0.6, now, "ask") for node in one.used_ids]
        self.connection.executemany(self.EDGE, edges)
        self.connection.executemany(
            "UPDATE nodes SET use_count = use_count + 1, last_used = max(last_used, ?) WHERE id = ?",
            [(now, node) for node in one.source_ids],
        )
        self.connection.execute(
            "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, '', NULL)",
            (
                one.id,
                one.namespace,
                one.session,
                now,
                query,
                answer,
                json.dumps(one.source_ids),
                json.dumps(one.used_ids),
                json.dumps(asdict(one.route)),
                json.dumps(one.timings_ms),
                one.confidence,
                one.finish_reason,
            ),
        )


class _Writes:
    """Each round writes WRITES new things, `batch` in a commit, beside 200 nodes that have been searched."""

    param_names = ("by", "batch")
    params = (["ruvllm", "apsw"], [1, 100])
    number = 1
    repeat = (3, 7, 60.0)

    def setup(self, by: str, batch: int) -> None:
        folder = Path(tempfile.mkdtemp())
        self.memory = Memory(folder / "brain", embedder=RandomEmbedder())
        self.bare = Bare(folder)
        known = texts(KNOWN, seed=0)
        self.bare.insert_nodes(known)
        self.memory.insert_nodes(known)
        self.memory.search(WORDS[0])  # all that is derived is in memory and has to be kept in step

    def teardown(self, by: str, batch: int) -> None:
        self.memory.close()
        self.bare.connection.close()


class Nodes(_Writes):
    """Texts of 60 words, by `insert_node` or `insert_nodes`."""

    def setup(self, by: str, batch: int) -> None:
        super().setup(by, batch)
        self.texts = texts(WRITES, seed=1)

    def time_insert(self, by: str, batch: int) -> None:
        insert = self.memory.insert_nodes if by == "ruvllm" else self.bare.insert_nodes
        if by == "ruvllm" and batch == 1:
            for text in self.texts:
                self.memory.insert_node(text)
            return
        for start in range(0, WRITES, batch):
            insert(self.texts[start : start + batch])


class Answers(_Writes):
    """Answered requests in 20 sessions, each with its question, its answer and their edges."""

    def setup(self, by: str, batch: int) -> None:
        super().setup(by, batch)
        self.answered = answered(WRITES, seed=1)
        self.recent = RecentAnswers()

    def time_commit(self, by: str, batch: int) -> None:
        for start in range(0, WRITES, batch):
            group = self.answered[start : start + batch]
            if by == "ruvllm":
                commit_interactions(self.memory._store, group, self.bare.embedder, recent=self.recent)
            else:
                self.bare.insert_answered(group)
