"""`ruvllm bench scale`: what a brain of a given size costs to fill, to open, to hold and to search."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ruvllm.bench.corpora import Passage, read_corpus, read_questions, sample
from ruvllm.bench.evaluation import documents
from ruvllm.bench.process import peak_bytes
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.config import Config, IndexConfig
from ruvllm.kernels import exact_search
from ruvllm.memory import HnswIndex, Memory
from ruvllm.types import Embedder

__all__ = ["grown", "run"]

QUESTIONS = 300
K = 10
THREADS = 2
PART = 5_000  # documents of one call of ingest
SMALL = 20_000  # documents up to which ingest is to be quicker
MIN_LETTERS = 60  # of a sentence that stands alone
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class _Timed:
    """An embedder that counts the time spent in it and keeps what it made."""

    def __init__(self, embedder: Embedder) -> None:
        self.id, self.native_dim = embedder.id, embedder.native_dim
        self.count_tokens = embedder.count_tokens
        self._embedder = embedder
        self.seconds = 0.0
        self.made: list[np.ndarray] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        started = time.perf_counter()
        vectors = self._embedder.encode(texts)
        self.seconds += time.perf_counter() - started
        self.made.append(vectors)
        return vectors


def run(corpora: Sequence[Path], questions: Path, settings: Settings, *, nodes: int) -> Report:
    """Return chunks a second without embedding, recall of the index, search times, opening times and memory.

    Args:
        corpora: JSON Lines of {pid, title, text}; see `grown` for how they become `nodes` documents.
        questions: JSON Lines of {id, question, answers}, of which QUESTIONS are asked.
    """
    if nodes < 1:
        raise ValueError(f"nodes must be >= 1 ({nodes})")
    passages = [passage for corpus in corpora for passage in read_corpus(corpus)]
    texts = list(grown(passages, nodes, settings.seed))
    asked = [q.question for q in sample(read_questions(questions), QUESTIONS, settings.seed)]
    with open_tools(settings) as tools, tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        vectors = tools.embedder.encode(asked)
        rows, made = _fill(Path(folder), texts, tools.embedder, settings)
        rows += _index_rows(made, vectors, settings.config.index)
        rows += _search_rows(Path(folder), asked, vectors, tools.embedder, settings.config)
        rows += _opening_rows(Path(folder), asked[0], vectors[0], settings.config)
    return make_report("scale", rows)


def grown(passages: Sequence[Passage], count: int, seed: int) -> Iterator[Passage]:
    """Yield `count` passages with different texts: those given, then their sentences, then pairs of sentences."""
    sentences = [s for p in passages for s in _SENTENCE_END.split(p.text) if len(s) >= MIN_LETTERS]
    rng = np.random.default_rng(seed)
    seen: set[str] = set()

    def candidates() -> Iterator[Passage]:
        yield from passages
        yield from (Passage(f"s{i}", "", sentence) for i, sentence in enumerate(sentences))
        for i in range(100 * count if sentences else 0):
            first, second = (sentences[j] for j in rng.integers(0, len(sentences), 2))
            yield Passage(f"d{i}", "", f"{first} {second}")

    for passage in candidates():
        if len(seen) == count:
            return
        if passage.text not in seen:
            seen.add(passage.text)
            yield passage
    raise ValueError(f"corpora: they do not hold enough for {count} documents")


def _fill(
    brain: Path, passages: Sequence[Passage], embedder: Embedder, settings: Settings
) -> tuple[list[Row], np.ndarray]:
    """Return what ingest did, and the vectors of all chunks."""
    timed, chunks = _Timed(embedder), 0
    started = time.perf_counter()
    with Memory(brain, embedder=timed, config=settings.config) as memory:
        for start in range(0, len(passages), PART):
            chunks += memory.ingest(documents(passages[start : start + PART])).chunks
            settings.on_progress("ingest", min(start + PART, len(passages)), len(passages))
        seconds = time.perf_counter() - started - timed.seconds
        links = memory.stats().edges
    rate, target = chunks / seconds, 2000.0 if len(passages) <= SMALL else 1200.0
    ingest = Row("ingest without embedding", rate, "chunks/s", target=target, met=rate >= target)
    return [Row("chunks", chunks, ""), Row("links", links, ""), ingest], np.concatenate(timed.made)


def _index_rows(vectors: np.ndarray, queries: np.ndarray, config: IndexConfig) -> list[Row]:
    index = HnswIndex(vectors.shape[1], config, capacity=len(vectors))
    started = time.perf_counter()
    index.add(np.arange(len(vectors)), vectors, num_threads=THREADS)
    rate = len(vectors) / (time.perf_counter() - started)
    true, _ = exact_search(vectors, queries, K, num_threads=THREADS)
    found = [set(index.search(query, K)[0].tolist()) for query in queries]
    recall = float(np.mean([len(mine & set(row)) / len(row) for mine, row in zip(found, true.tolist(), strict=True)]))
    return [
        Row(f"{config.kind} alone", rate, "chunks/s"),
        Row(f"{config.kind}, recall@{K} against exact search", recall, "fraction", target=0.98, met=recall >= 0.98),
    ]


def _search_rows(
    brain: Path, questions: Sequence[str], vectors: np.ndarray, embedder: Embedder, config: Config
) -> list[Row]:
    with Memory(brain, embedder=embedder, config=config) as memory:
        for _ in range(2):  # the first round loads everything
            times: list[float] = []
            for question, vector in zip(questions, vectors, strict=True):
                started = time.perf_counter()
                memory.search(question, K, query_vector=vector)
                times.append(1e3 * (time.perf_counter() - started))
    p50, p95 = np.percentile(times, [50, 95])
    return [
        Row("search without embedding, p50", float(p50), "ms", target=2.0, met=bool(p50 <= 2.0)),
        Row("search without embedding, p95", float(p95), "ms"),
    ]


# -- opening, in a process of its own --------------------------------------------------------------------------------


def _opening_rows(brain: Path, question: str, vector: np.ndarray, config: Config) -> list[Row]:
    saved = _opened(brain, question, vector, config)
    shutil.rmtree(brain / "index", ignore_errors=True)
    anew = _opened(brain, question, vector, config)
    return [
        Row("opening until the first answer", saved["seconds"], "s", target=2.0, met=saved["seconds"] <= 2.0),
        Row("the same, all derived files lost", anew["seconds"], "s"),
        Row("until its index is built again", anew["seconds"] + anew["index_seconds"], "s", target=75.0),
        Row("memory after the first answer", saved["megabytes"], "MB"),
    ]


def _opened(brain: Path, question: str, vector: np.ndarray, config: Config) -> dict[str, float]:
    given = json.dumps([str(brain), question, vector.tolist(), msgspec.to_builtins(config)])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ruvllm.bench.scale"], input=given, capture_output=True, text=True, check=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _open(brain: str, question: str, vector: Sequence[float], config: Mapping[str, Any]) -> dict[str, float]:
    """Return how long this process takes to answer a first question from a brain, and how large it is then."""
    query = np.array(vector, np.float32)
    started = time.perf_counter()
    with Memory(brain, config=msgspec.convert(config, Config)) as memory:
        memory.search(question, K, query_vector=query)
        seconds = time.perf_counter() - started
        megabytes = peak_bytes() / (1 << 20)
        started = time.perf_counter()
        memory._nearest.prepare()  # waits until the index is in use
        return {
            "seconds": seconds,
            "index_seconds": time.perf_counter() - started,
            "megabytes": megabytes,
        }


if __name__ == "__main__":
    print(json.dumps(_open(*json.load(sys.stdin))))
