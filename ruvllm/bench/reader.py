"""`ruvllm bench reader`: token F1 of a reader without context, with retrieved and with gold context.

The gap between no context and gold context is all that any memory can give this reader.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from ruvllm.bench.corpora import Passage, Question, read_corpus, read_questions, sample
from ruvllm.bench.report import Report, Row, bootstrap_interval, make_report
from ruvllm.config import Config, load_config
from ruvllm.context import build_prompt
from ruvllm.embedding import open_embedder
from ruvllm.inference import Engine, complete, open_engine
from ruvllm.memory import Memory
from ruvllm.pipeline import SMALL_READER_SENTENCES, default_context, is_small
from ruvllm.text import token_f1
from ruvllm.types import Embedder, GenerationOptions, Hit, Node, NodeType

__all__ = ["CONDITIONS", "run"]

CONDITIONS = ("none", "retrieved", "gold")
GAIN_TARGET = 0.15  # answers are only claimed for readers that gain this much from gold context

Progress = Callable[[str, int, int], None]


def run(
    corpus: Path,
    questions: Path,
    models: Sequence[str],
    *,
    n: int = 200,
    seed: int = 0,
    config: Config | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Return mean token F1 (best over the accepted answers) per model and condition, and each model's gain from gold.

    Args:
        corpus, questions: JSON Lines, see `ruvllm.bench.corpora`.
        models: as `ruvllm.open(model=...)` takes them.
        n: questions drawn with `seed`.
    """
    config = config or load_config()
    embedder = open_embedder(config.embedding, config.models)
    passages = read_corpus(corpus)
    asked = sample(read_questions(questions), n, seed)
    contexts: dict[str, list[list[Hit]]] = {
        "none": [[] for _ in asked],
        "retrieved": _retrieved(passages, asked, config, embedder),
        "gold": _gold(passages, asked),
    }
    rows: list[Row] = []
    for model in models:
        section = msgspec.structs.replace(config.generation, model=model)
        engine = open_engine(model, section, config.models)
        scores: dict[str, np.ndarray] = {}
        for condition in CONDITIONS:
            values = []
            for done, (question, hits) in enumerate(zip(asked, contexts[condition], strict=True)):
                values.append(_score(engine, embedder, question, hits, config))
                if on_progress:
                    on_progress(f"{engine.name} {condition}", done + 1, len(asked))
            scores[condition] = np.array(values)
            interval = bootstrap_interval(scores[condition])
            rows.append(Row(f"{engine.name}, {condition}", float(scores[condition].mean()), "token F1", interval))
        gain = scores["gold"] - scores["none"]
        value = float(gain.mean())
        rows.append(
            Row(
                f"{engine.name}, gain from gold",
                value,
                "token F1",
                bootstrap_interval(gain),
                target=GAIN_TARGET,
                met=value >= GAIN_TARGET,
            )
        )
        engine.close()
    return make_report("reader", rows)


def _score(engine: Engine, embedder: Embedder, question: Question, hits: list[Hit], config: Config) -> float:
    options = GenerationOptions(max_new_tokens=48)
    query_vector = embedder.encode([question.question])[0]
    prompt = build_prompt(
        question.question,
        hits,
        (),
        count_tokens=engine.count_tokens,
        relevance=lambda texts: embedder.encode(texts) @ query_vector,
        budget_tokens=default_context(question.question, engine, options, config.generation.context_tokens),
        max_sources=config.retrieval.k,
        max_sentences=SMALL_READER_SENTENCES if is_small(engine) else None,
        duplicate_similarity=config.retrieval.duplicate_similarity,
    )
    answer = complete(engine, prompt.messages, options).text
    return max(token_f1(answer, gold) for gold in question.answers)


def _retrieved(
    passages: Sequence[Passage], asked: Sequence[Question], config: Config, embedder: Embedder
) -> list[list[Hit]]:
    with (
        tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
        Memory(folder, embedder=embedder, config=config) as memory,
    ):
        memory.ingest([{"text": p.text, "title": p.title, "source": p.pid} for p in passages])
        return [memory.search(q.question, 2 * config.retrieval.k) for q in asked]


def _gold(passages: Sequence[Passage], asked: Sequence[Question]) -> list[list[Hit]]:
    by_pid = {p.pid: p for p in passages}
    return [[_as_hit(by_pid[pid], i) for i, pid in enumerate(q.gold_pids) if pid in by_pid] for q in asked]


def _as_hit(passage: Passage, position: int) -> Hit:
    metadata = {"title": passage.title}
    return Hit(Node(position, NodeType.DOCUMENT, passage.text, source=passage.pid, metadata=metadata), 1.0)
