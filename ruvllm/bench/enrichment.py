"""`ruvllm bench enrichment`: what the names that a local model finds do to recall, and what reading costs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from ruvllm.bench import evaluation
from ruvllm.bench.corpora import Passage, Question, read_corpus, read_questions, sample
from ruvllm.bench.evaluation import ask, attention, documents, measure, metric_names
from ruvllm.bench.pool import Pool
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.inference import Engine, open_engine
from ruvllm.learning.enrichment import EnrichmentReport, enrich
from ruvllm.memory import Memory
from ruvllm.types import Embedder

__all__ = ["run"]

KS = (2, 5, 10)
PLAIN, ENRICHED = "untrained", "untrained, enriched"


def run(corpus: Path, questions: Path, settings: Settings, *, passages: int, max_links: int) -> Report:
    """Return recall of the untrained memory with and without enrichment on the same questions, and its cost.

    Args:
        passages: of the corpus, drawn beside those that the questions need.
        max_links: that a passage may have and is still read.
    """
    drawn = [question for question in read_questions(questions) if question.gold_pids]
    drawn = drawn if settings.limit is None else sample(drawn, settings.limit, settings.seed)
    held = _drawn(read_corpus(corpus), drawn, passages, settings.seed)
    config = settings.config
    with open_tools(replace(settings, model="none")) as tools:
        engine = open_engine(settings.model, config.generation, config.models)
        try:
            return make_report("enrichment", _rows(held, drawn, settings, tools.embedder, engine, max_links))
        finally:
            engine.close()


def _rows(
    held: Sequence[Passage],
    drawn: Sequence[Question],
    settings: Settings,
    embedder: Embedder,
    engine: Engine,
    max_links: int,
) -> list[Row]:
    section = msgspec.structs.replace(settings.config.enrichment, max_links=max_links, passages_per_run=len(held))
    reports: list[EnrichmentReport] = []

    def read(memory: Memory) -> None:
        reports.append(enrich(memory, engine.name, lambda: nullcontext(engine), section))

    sources, pool = documents(held, hide_titles=settings.hide_titles), Pool(metric_names(KS))
    for system, before in ((PLAIN, lambda memory: None), (ENRICHED, read)):
        asked = ask(sources, drawn, embedder, settings.config, before=before, on_progress=settings.on_progress)
        if system == PLAIN:
            pool.add("RRF", range(len(asked)), measure(evaluation.rrf, asked, KS))
        pool.add(system, range(len(asked)), measure(attention(), asked, KS))
    [report] = reports
    rows = [row for system in pool.systems for row in pool.rows(system)]
    rows += [pool.gain(ENRICHED, PLAIN, metric) for metric in ("recall@5", "nDCG@10")]
    return [
        *rows,
        Row("passages", len(held), "passages"),
        Row("passages read", report.read, "passages"),
        Row("names found", report.names, "names"),
        Row("links made", report.links, "links"),
        Row("time of one passage", report.seconds / max(report.read, 1), "s"),
    ]


def _drawn(corpus: Sequence[Passage], questions: Sequence[Question], count: int, seed: int) -> list[Passage]:
    """Return the passages that the questions need and others, drawn by `seed`, until there are `count`."""
    needed = {pid for question in questions for pid in question.gold_pids}
    order = np.random.default_rng(seed).permutation(len(corpus))
    others = [i for i in order.tolist() if corpus[i].pid not in needed]
    kept = {corpus[i].pid for i in others[: max(count - len(needed), 0)]} | needed
    return [passage for passage in corpus if passage.pid in kept]
