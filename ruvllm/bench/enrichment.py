"""`ruvllm bench enrichment`: what the names that a local model finds do to recall, and what reading costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from ruvllm.bench import evaluation
from ruvllm.bench.cache import Cache
from ruvllm.bench.corpora import Passage, Question, read_corpus, read_questions, sample
from ruvllm.bench.evaluation import ask, attention, documents, measure, metric_names
from ruvllm.bench.pool import Pool
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.config import EnrichmentConfig
from ruvllm.inference import Cancelled, Engine, Piece, complete, open_engine
from ruvllm.learning.enrichment import EnrichmentReport, enrich
from ruvllm.memory import Memory
from ruvllm.types import Embedder, GenerationOptions, Message

__all__ = ["run"]

KS = (2, 5, 10)
PLAIN, ENRICHED = "untrained", "untrained, enriched"


def run(
    corpus: Path, questions: Path, settings: Settings, *, passages: int, max_links: int, read: int | None = None
) -> Report:
    """Return recall of the untrained memory with and without enrichment on the same questions, and its cost.

    Args:
        passages: of the corpus, drawn beside those that the questions need.
        max_links: that a passage may have and is still read.
        read: passages, those with the fewest links first; all of these when None.
    """
    section = msgspec.structs.replace(
        settings.config.enrichment, max_links=max_links, passages_per_run=read or passages
    )
    drawn = [question for question in read_questions(questions) if question.gold_pids]
    drawn = drawn if settings.limit is None else sample(drawn, settings.limit, settings.seed)
    held = _drawn(read_corpus(corpus), drawn, passages, settings.seed)
    config = settings.config
    with open_tools(replace(settings, model="none")) as tools:
        engine = _CachedEngine(open_engine(settings.model, config.generation, config.models), tools.cache)
        try:
            return make_report("enrichment", _rows(held, drawn, settings, tools.embedder, engine, section))
        finally:
            engine.close()


class _CachedEngine:
    """An engine that reads no prompt twice; `seconds` of processor time that each answer took when it was made."""

    def __init__(self, engine: Engine, cache: Cache) -> None:
        self.name, self.context_tokens, self.parameters = engine.name, engine.context_tokens, engine.parameters
        self.seconds: list[float] = []
        self._engine, self._cache = engine, cache

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return self._engine.count_tokens(messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        key = msgspec.json.encode((messages, options)).decode()
        known = self._cache.find(f"by {self.name}", [key])
        if key not in known:
            started = time.process_time()
            done = complete(self._engine, messages, options, cancelled=cancelled)
            known = {key: msgspec.json.encode((done.text, done.finish_reason, time.process_time() - started))}
            self._cache.add(f"by {self.name}", known)
        text, finish_reason, seconds = msgspec.json.decode(known[key])
        self.seconds.append(seconds)
        yield Piece(text, finish_reason=finish_reason)

    def close(self) -> None:
        self._engine.close()


def _rows(
    held: Sequence[Passage],
    drawn: Sequence[Question],
    settings: Settings,
    embedder: Embedder,
    engine: _CachedEngine,
    section: EnrichmentConfig,
) -> list[Row]:
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
        Row("processor time of one passage", float(np.mean(engine.seconds or 0.0)), "s"),
    ]


def _drawn(corpus: Sequence[Passage], questions: Sequence[Question], count: int, seed: int) -> list[Passage]:
    """Return the passages that the questions need and others, drawn by `seed`, until there are `count`."""
    needed = {pid for question in questions for pid in question.gold_pids}
    order = np.random.default_rng(seed).permutation(len(corpus))
    others = [i for i in order.tolist() if corpus[i].pid not in needed]
    kept = {corpus[i].pid for i in others[: max(count - len(needed), 0)]} | needed
    return [passage for passage in corpus if passage.pid in kept]
