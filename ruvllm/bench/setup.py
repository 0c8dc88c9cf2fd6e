"""What every bench of memory opens first: embedder, cache and reader, and a set of questions put to its corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ruvllm.bench.answers import Reader, no_reader
from ruvllm.bench.cache import Cache, CachedEmbedder
from ruvllm.bench.corpora import read_corpus, read_questions, sample
from ruvllm.bench.evaluation import Asked, Progress, ask, documents
from ruvllm.bench.ratings import Answer, Attribution, fitted
from ruvllm.config import Config, load_config
from ruvllm.embedding import open_embedder
from ruvllm.memory import Memory
from ruvllm.types import Embedder

__all__ = ["Settings", "Tools", "ask_files", "open_tools"]

FIT_QUESTIONS = 300  # more change its two dozen weights little


def _silent(what: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Settings:
    """How a bench is run.

    Attributes:
        hide_titles: passages are stored without their titles; this stands for a user's documents.
        limit: questions drawn, all when None; the corpus stays whole.
        orders: seeded orders in which questions are asked.
        model: reader whose answers are rated; "none" rates without any.
        fit_on: corpus and questions that attribution is fitted on; as it ships when None.
        cache: folder for embeddings and answers; nothing is kept when None.
        embedder: the configured one when None.
    """

    hide_titles: bool = False
    limit: int | None = None
    orders: int = 5
    seed: int = 0
    model: str = "none"
    fit_on: tuple[Path, Path] | None = None
    cache: Path | None = None
    config: Config = field(default_factory=load_config)
    embedder: Embedder | None = None
    on_progress: Progress = _silent

    def __post_init__(self) -> None:
        if self.orders < 1:
            raise ValueError(f"orders must be >= 1 ({self.orders})")
        if self.limit is not None and self.limit < 2:
            raise ValueError(f"limit must be >= 2 ({self.limit})")


@dataclass(frozen=True, slots=True)
class Tools:
    """What is open while a bench runs."""

    embedder: Embedder
    attribution: Attribution
    cache: Cache


@contextmanager
def open_tools(settings: Settings) -> Iterator[Tools]:
    """Yield the tools, closed at the end."""
    config = settings.config
    with Cache(settings.cache) as cache:
        embedder = CachedEmbedder(settings.embedder or open_embedder(config.embedding, config.models), cache)
        if settings.model == "none":
            yield Tools(embedder, _attribution(settings, embedder, no_reader), cache)
            return
        reader = Reader(settings.model, embedder, cache, config)
        try:
            yield Tools(embedder, _attribution(settings, embedder, reader), cache)
        finally:
            reader.close()


def _attribution(settings: Settings, embedder: Embedder, answer: Answer) -> Attribution:
    if settings.fit_on is None:
        return Attribution(answer)
    corpus, questions = settings.fit_on
    limited = replace(settings, limit=min(settings.limit or FIT_QUESTIONS, FIT_QUESTIONS))
    return fitted(ask_files(corpus, questions, limited, embedder), answer)


def ask_files(
    corpus: Path,
    questions: Path,
    settings: Settings,
    embedder: Embedder,
    *,
    before: Callable[[Memory], object] = lambda memory: None,
) -> list[Asked]:
    """Return the questions of a file, those with gold passages in the corpus, as put to a brain of the corpus.

    Args:
        before: what is done to the brain between reading the corpus and the first question.

    Raises:
        ValueError: there are fewer than two.
    """
    passages = read_corpus(corpus)
    known = {passage.pid for passage in passages}
    held = []
    for question in read_questions(questions):
        if gold := tuple(pid for pid in question.gold_pids if pid in known):
            held.append(replace(question, gold_pids=gold))
    if len(held) < 2:
        raise ValueError(f"{questions} has {len(held)} questions with gold passages in {corpus}; two are the least")
    if settings.limit is not None:
        held = sample(held, settings.limit, settings.seed)
    sources = documents(passages, hide_titles=settings.hide_titles)
    return ask(sources, held, embedder, settings.config, before=before, on_progress=settings.on_progress)
