"""What the benches of memory share: questions put to a brain, rankings of their candidates, and how good those are."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ruvllm.attention.engine import AttentionEngine, Inputs
from ruvllm.attention.features import FEATURES
from ruvllm.bench.corpora import Passage, Question
from ruvllm.config import Config
from ruvllm.memory import Memory
from ruvllm.memory.search import fuse
from ruvllm.types import Embedder, Node

__all__ = [
    "Asked",
    "Progress",
    "Scorer",
    "Split",
    "apart",
    "ask",
    "attention",
    "bm25",
    "dense",
    "documents",
    "measure",
    "measure_rankings",
    "metric_names",
    "ranking",
    "rrf",
    "split",
]

Progress = Callable[[str, int, int], None]

FUSED = 40  # of the vector and of the keyword ranking that reciprocal rank fusion takes
RRF_K = 60


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question put to a brain.

    Attributes:
        gold: names of the passages that hold the answer.
        vector: (native_dim,) float32, unit length, of the question.
        nodes: the n candidates.
        names: of the passage that each candidate is a part of.
        inputs: what the attention engine is given for them.
        search_ms: time of one search, embedding left out.
        group: of questions that were asked of one brain.
    """

    question: Question
    gold: frozenset[str]
    vector: np.ndarray
    nodes: tuple[Node, ...]
    names: tuple[str, ...]
    inputs: Inputs
    search_ms: float
    group: str = ""

    @property
    def labels(self) -> np.ndarray:
        """(n,) bool, which candidates hold evidence."""
        return np.array([name in self.gold for name in self.names], np.bool_)

    def feature(self, name: str) -> np.ndarray:
        """Return (n,) float32, one column of the node features."""
        return self.inputs.node_features[:, FEATURES.index(name)]


def documents(passages: Iterable[Passage], *, hide_titles: bool = False) -> list[dict[str, Any]]:
    """Return passages as `Memory.ingest` takes them."""
    return [{"text": p.text, "source": p.pid} | ({} if hide_titles else {"title": p.title}) for p in passages]


def ask(
    sources: Sequence[Mapping[str, Any]],
    questions: Sequence[Question],
    embedder: Embedder,
    config: Config,
    *,
    name_of: Callable[[Node], str] = lambda node: node.source or f"node {node.id}",
    before: Callable[[Memory], object] = lambda memory: None,
    group: str = "",
    on_progress: Progress = lambda what, done, total: None,
) -> list[Asked]:
    """Return the questions as put to a brain of `sources` in a temporary folder, after `before` was done to it."""
    asked: list[Asked] = []
    nodes: dict[int, Node] = {}
    with (
        tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
        Memory(folder, embedder=embedder, config=config) as memory,
    ):
        report = memory.ingest(
            sources, on_progress=lambda p: on_progress(f"ingest {group}", p.documents_done, p.documents_total)
        )
        if report.failures:
            raise ValueError(f"the corpus holds what cannot be stored: {report.failures[0]}")
        before(memory)
        for done, question in enumerate(questions, 1):
            vector = embedder.encode([question.question])[0]
            found = memory.candidates(question.question, query_vector=vector)
            if found is None:
                raise ValueError("the corpus holds no passages")
            started = time.perf_counter()
            memory.search(question.question, query_vector=vector)
            search_ms = (time.perf_counter() - started) * 1e3
            ids, inputs = found
            for node_id in set(ids.tolist()) - nodes.keys():
                nodes[node_id] = memory.get(node_id)
            candidates = tuple(nodes[node_id] for node_id in ids.tolist())
            names = tuple(name_of(node) for node in candidates)
            gold = frozenset(question.gold_pids)
            asked.append(Asked(question, gold, vector, candidates, names, inputs, search_ms, group))
            on_progress(f"ask {group}", done, len(questions))
    return asked


# -- rankings --------------------------------------------------------------------------------------------------------

Scorer = Callable[[Asked], np.ndarray]
"""Gives each candidate of a question a score, (n,); the highest is the best."""


def dense(asked: Asked) -> np.ndarray:
    """Score by the cosine to the question."""
    return asked.feature("similarity")


def bm25(asked: Asked) -> np.ndarray:
    """Score by words in common."""
    return asked.feature("keyword")


def rrf(asked: Asked) -> np.ndarray:
    """Score by reciprocal rank fusion of both."""
    scores = np.zeros(len(asked.nodes), np.float32)
    by_word = [i for i in _order(bm25(asked)) if bm25(asked)[i] > 0.0]
    for i, score in fuse([_order(dense(asked))[:FUSED], by_word[:FUSED]], RRF_K).items():
        scores[i] = score
    return scores


def attention(params: np.ndarray | None = None) -> Scorer:
    """Score by graph attention; by the PageRank prior, which the untrained engine equals, without parameters."""
    engine = AttentionEngine(params)

    def scorer(asked: Asked) -> np.ndarray:
        return engine.kernel.forward(*asked.inputs.arrays()).weights  # type: ignore[arg-type]

    return scorer


def ranking(asked: Asked, scores: np.ndarray) -> list[str]:
    """Return the names of the passages, best first, each once."""
    return list(dict.fromkeys(asked.names[i] for i in _order(scores)))


def _order(scores: np.ndarray) -> list[int]:
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order


# -- figures ---------------------------------------------------------------------------------------------------------


def metric_names(ks: Sequence[int]) -> tuple[str, ...]:
    """Return the names of what `measure` returns."""
    return (*(f"recall@{k}" for k in ks), "nDCG@10")


def measure(scorer: Scorer, asked: Sequence[Asked], ks: Sequence[int]) -> np.ndarray:
    """Return (questions, len(ks) + 1): the share of the gold passages among the best k, and nDCG at 10."""
    return measure_rankings([ranking(one, scorer(one)) for one in asked], asked, ks)


def measure_rankings(rankings: Sequence[Sequence[str]], asked: Sequence[Asked], ks: Sequence[int]) -> np.ndarray:
    """Return what `measure` does for the names of passages, best first, that were found for each question."""
    figures = np.zeros((len(asked), len(ks) + 1))
    gain = 1.0 / np.log2(np.arange(2, 12))
    for row, one, names in zip(figures, asked, rankings, strict=True):
        hit = np.array([name in one.gold for name in names], np.float64)
        row[:-1] = [hit[:k].sum() / len(one.gold) for k in ks]
        row[-1] = (hit[:10] * gain[: len(hit[:10])]).sum() / gain[: len(one.gold)].sum()
    return figures


@dataclass(frozen=True, slots=True)
class Split:
    """Places of the questions that are rated, in the order in which they are asked, and of those held out."""

    stream: list[int]
    held_out: list[int]


def split(asked: Sequence[Asked], count: int, rng: np.random.Generator) -> Split:
    """Return `count` questions drawn as the stream, at most half, and those that share no gold passage with them."""
    order = rng.permutation(len(asked)).tolist()
    stream = order[: min(count, len(asked) // 2)]
    return Split(stream, apart(asked, stream, order[len(stream) :]))


def apart(asked: Sequence[Asked], stream: Iterable[int], others: Iterable[int]) -> list[int]:
    """Return those of `others` that share no gold passage with the stream."""
    used = frozenset[str]().union(*(asked[i].gold for i in stream))
    return [i for i in others if not asked[i].gold & used]
