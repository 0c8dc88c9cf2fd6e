"""Where answers to nearly the same question are looked for."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np

from ruvllm.memory import Memory
from ruvllm.memory.near_questions import Questions
from ruvllm.types import Feedback

from .fakes import WordEmbedder, interaction


def unit(*parts: float) -> np.ndarray:
    vector = np.array(parts, np.float32)
    return vector / np.linalg.norm(vector)


def test_near_questions_come_newest_first() -> None:
    known = Questions(["old"], unit(1.0, 0.0)[np.newaxis], keep=8)
    known.add("other", unit(0.0, 1.0))
    known.add("new", unit(1.0, 0.1))
    assert known.near(unit(1.0, 0.0)) == ["new", "old"]


def test_questions_that_nobody_asked_for_longest_are_dropped() -> None:
    apart = np.eye(100, dtype=np.float32)
    known = Questions([], np.empty((0, 100), np.float32), keep=4)
    for i, question in enumerate(apart):
        known.add(str(i), question)
        known.add(f"again {i}", apart[0])
    assert known.near(apart[0]) == ["again 99", "again 98", "again 97", "again 96"]
    assert [known.near(question) for question in apart[-3:]] == [["97"], ["98"], ["99"]]
    assert sum(bool(known.near(question)) for question in apart) <= 16


def test_a_question_takes_little_more_than_its_vector() -> None:
    vectors = np.random.default_rng(0).standard_normal((8192, 16)).astype(np.float32)
    ids = [str(i) for i in range(len(vectors))]
    tracemalloc.start()
    try:
        known = Questions(ids, vectors, keep=len(ids))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert known.near(10.0 * vectors[0])[-1] == "0"
    assert used / len(ids) < vectors[0].nbytes + 400


def test_raters_of_twins_are_counted_together_also_after_reopening(tmp_path: Path) -> None:
    for rater in ("ann", "bob"):
        with Memory(tmp_path, embedder=WordEmbedder()) as memory:
            memory.record(interaction(rater, session=rater, created=time.time()))
            memory.feedback(rater, Feedback(rating=5, rater=rater))
            answer = memory.interaction(rater).answer_node
            assert answer is not None
            assert memory.get(answer).on_probation == (rater == "ann")
