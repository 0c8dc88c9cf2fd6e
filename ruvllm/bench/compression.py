"""`ruvllm bench compression`: are clusters of one topic, are summaries faithful, and what does archiving cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ruvllm.bench.clusterings import others, purity
from ruvllm.bench.conversation import read_dialogues
from ruvllm.bench.corpora import Question, read_corpus, read_questions, read_rows, sample
from ruvllm.bench.evaluation import documents
from ruvllm.bench.report import Report, Row, bootstrap_interval, make_report
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.config import CompressionConfig, Config
from ruvllm.inference import open_engine
from ruvllm.learning.compression import CompressionReport, compress
from ruvllm.memory import Memory
from ruvllm.types import Embedder, Node

__all__ = ["archiving_rows", "run", "topic_rows"]

K = 10
SHARE = 0.8  # of the nodes that are archived, drawn at random: no use says which
TOPICS = 20
SUMMARIES = 40  # clusters that the model sums up
OLD_S = 100 * 86_400.0
REHYDRATED = 50


def run(
    topics: Path,
    settings: Settings,
    *,
    model: str = "none",
    corpus: tuple[Path, Path] | None = None,
    dialogue: tuple[Path, Path] | None = None,
    label: str = "intent",
) -> Report:
    """Return purity and NMI of clusters, what archiving does to recall, memory and time, and what summaries are worth.

    Args:
        model: sums up; "none" quotes, and says nothing about faithfulness.
        topics: JSON Lines of {text, label}; texts whose label is "oos" belong nowhere and are left out.
        corpus: passages and questions, see `ruvllm.bench.corpora`.
        dialogue: turns and questions, see `ruvllm.bench.conversation`.
        label: the key of the label.
    """
    with open_tools(settings) as tools:
        rows = topic_rows(topics, label, tools.embedder, settings)
        if corpus is not None:
            questions = [q for q in read_questions(corpus[1]) if q.gold_pids]
            questions = questions if settings.limit is None else sample(questions, settings.limit, settings.seed)
            brains: list[Brain] = [(documents(read_corpus(corpus[0])), questions)]
            rows += archiving_rows("passages", brains, lambda node: str(node.source), tools.embedder, settings)
        if dialogue is not None:
            brains = _dialogues(*dialogue, settings)
            name_of: Callable[[Node], str] = lambda node: str(node.metadata.get("dia_id"))  # noqa: E731
            rows += archiving_rows("dialogues", brains, name_of, tools.embedder, settings)
        if model != "none":
            rows += _summary_rows(model, topics, label, tools.embedder, settings)
    return make_report("compression", rows)


# -- topics ----------------------------------------------------------------------------------------------------------


def topic_rows(file: Path, label: str, embedder: Embedder, settings: Settings) -> list[Row]:
    """Return purity, NMI and coverage of the clusters of all labelled texts, and purity over draws of TOPICS topics."""
    texts, labels = _labelled(file, label)
    every = _clustered(texts, labels, embedder, settings)
    rng = np.random.default_rng(settings.seed)
    draws = []
    for _ in range(settings.orders):
        drawn = np.isin(labels, rng.permutation(np.unique(labels))[:TOPICS])
        own = [text for text, is_in in zip(texts, drawn, strict=True) if is_in]
        draws.append(_clustered(own, labels[drawn], embedder, settings))
    rows = [_row("purity, all topics", every["ours"][0], every, 0, target=0.8)]
    rows.append(_row("NMI, all topics", every["ours"][1], every, 1))
    rows.append(Row("texts in a cluster, all topics", every["ours"][2], "fraction"))
    for place, name in enumerate((f"purity, {TOPICS} topics", f"NMI, {TOPICS} topics")):
        values = np.array([draw["ours"][place] for draw in draws])
        means = {who: tuple(np.mean([draw[who] for draw in draws], axis=0)) for who in draws[0]}
        interval = bootstrap_interval(values) if len(values) > 1 else None
        row = _row(name, float(values.mean()), means, place, target=None if place else 0.8)
        rows.append(replace(row, interval=interval))
    return rows


def _labelled(file: Path, label: str) -> tuple[list[str], np.ndarray]:
    """Return the texts that have a label, each once."""
    of: dict[str, str] = {}
    for row in read_rows(file, ("text", label)):
        if row[label] != "oos":
            of.setdefault(str(row["text"]), str(row[label]))
    return list(of), np.array(list(of.values()))


def _clustered(
    texts: Sequence[str], labels: np.ndarray, embedder: Embedder, settings: Settings
) -> dict[str, tuple[float, float, float]]:
    """Return who clustered -> purity, NMI and share of the texts that are in a cluster."""
    from sklearn.metrics import normalized_mutual_info_score

    section = settings.config.compression
    with (
        tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
        Memory(folder, embedder=embedder, config=settings.config) as memory,
    ):
        ids = memory.insert_nodes(texts)
        clusters = memory.detect_clusters(section.min_size, section.min_density, seed=settings.seed)
    place = {node: i for i, node in enumerate(ids)}
    found = np.full(len(texts), -1)
    for number, cluster in enumerate(clusters):
        found[[place[node] for node in cluster.nodes]] = number
    vectors = embedder.encode(texts)
    named = {"ours": found} | others(vectors, max(len(clusters), 2), section.min_size, settings.seed)
    figures = {}
    for who, numbers in named.items():
        inside = numbers >= 0
        nmi = float(normalized_mutual_info_score(labels[inside], numbers[inside])) if inside.any() else 0.0
        figures[who] = (purity(numbers[inside], labels[inside]), nmi, float(inside.mean()))
    return figures


def _row(
    name: str, value: float, figures: Mapping[str, Sequence[float]], place: int, target: float | None = None
) -> Row:
    peers = {who: float(each[place]) for who, each in figures.items() if who != "ours"}
    ratio = value / max(peers.values()) if peers else None
    met = None if target is None else value >= target
    return Row(name, value, "fraction", peers=peers, ratio=ratio, target=target, met=met)


# -- archiving -------------------------------------------------------------------------------------------------------

Brain = tuple[Sequence[Mapping[str, Any]], Sequence[Question]]
"""Documents, and the questions about them."""


def archiving_rows(
    what: str, brains: Sequence[Brain], name_of: Callable[[Node], str], embedder: Embedder, settings: Settings
) -> list[Row]:
    """Return what concepts and archiving SHARE of the nodes do to recall, and what searches and memory come to."""
    index = msgspec.structs.replace(settings.config.index, exact_below=64)  # the index, also where brains are small
    config = msgspec.structs.replace(settings.config, index=index)
    parts = [_archived(*brain, name_of, embedder, config, settings.seed) for brain in brains]
    stages = ("before", "concepts", "after")
    before, concepts, after = (np.concatenate([part[stage] for part in parts]) for stage in stages)
    rows = [Row(f"recall@{K}, {what}", float(before.mean()), "fraction", interval=bootstrap_interval(before))]
    for name, values, target in (("with concepts", concepts, None), (f"{SHARE:.0%} archived", after, -0.02)):
        change = values - before
        met = None if target is None else bool(change.mean() >= target)
        rows.append(
            Row(
                f"recall@{K}, {what}, {name}, change",
                float(change.mean()),
                "fraction",
                interval=bootstrap_interval(change),
                target=target,
                met=met,
            )
        )
    held = [sum(part[name] for part in parts) for name in ("bytes before", "bytes after")]
    saved = held[1] / held[0] - 1.0
    rows.append(Row(f"index and graph in memory, {what}, change", saved, "fraction", target=-0.7, met=saved <= -0.7))
    for name in ("search before", "search after", "bring back one node"):
        times = np.concatenate([part[name] for part in parts])
        p95 = float(np.percentile(times, 95))
        met = None if name == "search before" else p95 <= 50.0
        target = None if name == "search before" else 50.0
        rows.append(Row(f"{name}, {what}, p95", p95, "ms", target=target, met=met))
    return rows


def _archived(
    sources: Sequence[Mapping[str, Any]],
    questions: Sequence[Question],
    name_of: Callable[[Node], str],
    embedder: Embedder,
    config: Config,
    seed: int,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        with Memory(folder, embedder=embedder, config=config) as memory:
            memory.ingest(sources)
            memory._nearest.prepare()
            before, before_ms = _recall(memory, questions, name_of, embedder)
            held = _bytes(memory)
            compress(memory, lambda: nullcontext(None), config.compression)
            concepts, _ = _recall(memory, questions, name_of, embedder)
            cold = _archive(memory, seed)
            memory.compact()
        with Memory(folder, embedder=embedder, config=config) as memory:
            memory._nearest.prepare()
            after, after_ms = _recall(memory, questions, name_of, embedder)
            left = _bytes(memory)
            back_ms = [_timed_ms(lambda node=node: memory.rehydrate([node])) for node in cold[:REHYDRATED]]  # type: ignore[misc]
    return {
        "before": before,
        "concepts": concepts,
        "after": after,
        "bytes before": held,
        "bytes after": left,
        "search before": before_ms,
        "search after": after_ms,
        "bring back one node": np.array(back_ms),
    }


def _recall(
    memory: Memory, questions: Sequence[Question], name_of: Callable[[Node], str], embedder: Embedder
) -> tuple[np.ndarray, np.ndarray]:
    """Return each question's share of gold passages among the K best hits, and the time of its search in ms."""
    recall, times = [], []
    for question in questions:
        vector, gold = embedder.encode([question.question])[0], set(question.gold_pids)
        started = time.perf_counter()
        hits = memory._search.search(question.question, vector, memory._space.project(vector[np.newaxis])[0], K)
        times.append(1e3 * (time.perf_counter() - started))
        recall.append(len({name_of(hit.node) for hit in hits} & gold) / len(gold))
    return np.array(recall), np.array(times)


def _archive(memory: Memory, seed: int) -> list[int]:
    """Archive SHARE of the nodes, drawn at random, and return them."""
    ids = [row[0] for row in memory._store.rows("SELECT id FROM nodes WHERE type <> 'Concept' ORDER BY id")]
    order = np.random.default_rng(seed).permutation(len(ids))
    count = int(SHARE * len(ids))
    cold, now = [ids[i] for i in order[:count]], time.time()
    last_used = [(now - OLD_S, 0, ids[i]) if n < count else (now, 1000, ids[i]) for n, i in enumerate(order)]
    sql = "UPDATE nodes SET last_used = ?, use_count = ? WHERE id = ?"
    memory._store.write(lambda connection: connection.executemany(sql, last_used))
    memory.run_archival()
    return cold


def _bytes(memory: Memory) -> int:
    """Return the memory of what searches are derived from: index, rows, words, graph, facts, and shelves."""
    index, matrix = memory._nearest._index, memory._nearest.load()
    hnsw = 0 if index is None else int(index._index._index.index_file_size())  # as large as in memory
    rows = len(matrix) * (2 * matrix.dim + 12)
    words = memory._keywords.load().nbytes
    return hnsw + rows + words + memory._links.load().nbytes + memory._cold.nbytes


def _timed_ms(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return 1e3 * (time.perf_counter() - started)


def _dialogues(turns: Path, questions: Path, settings: Settings) -> list[Brain]:
    sources, rows = read_dialogues(turns, questions, settings)
    asked = {c: [row.question for row in rows if row.conversation == c] for c in sources}
    return [(sources[c], asked[c]) for c in sources if asked[c]]


# -- summaries -------------------------------------------------------------------------------------------------------


def _summary_rows(model: str, file: Path, label: str, embedder: Embedder, settings: Settings) -> list[Row]:
    """Return how much of what the model writes about SUMMARIES clusters their members support."""
    config = settings.config
    texts, labels = _labelled(file, label)
    drawn = np.isin(labels, np.random.default_rng(settings.seed).permutation(np.unique(labels))[:TOPICS])
    with (
        tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
        Memory(folder, embedder=embedder, config=config) as memory,
    ):
        memory.insert_nodes([text for text, is_in in zip(texts, drawn, strict=True) if is_in])
        engine = open_engine(model, config.generation, config.models)
        section: CompressionConfig = msgspec.structs.replace(config.compression, max_levels=1)
        report = compress(
            memory,
            lambda: nullcontext(engine),
            section,
            cancelled=lambda: len(memory.concepts()) >= SUMMARIES,
        )
        engine.close()
    return summary_rows(report)


def summary_rows(report: CompressionReport) -> list[Row]:
    """Return the share of the model's sentences that members support, and of the concepts that are the model's."""
    concepts = report.made + report.changed
    return [
        Row("sentences of the model that members support", report.supported / max(report.sentences, 1), "fraction"),
        Row("concepts that the model summed up", report.generated / max(concepts, 1), "fraction"),
    ]
