"""`ruvllm bench quality`: questions through `ask`, and how good, how complete and how quick the answers are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ruvllm.bench.conversation import dialogues
from ruvllm.bench.corpora import read_corpus, read_rows
from ruvllm.bench.evaluation import documents
from ruvllm.bench.report import Report, Row, bootstrap_interval, make_report
from ruvllm.config import Config, load_config
from ruvllm.system import RuvLLM
from ruvllm.text import token_f1
from ruvllm.types import Response

__all__ = ["COVERAGE", "F1", "GOLD", "QUALITY", "Item", "Source", "answered", "quality_rows", "read_items", "run"]

COVERAGE = "coverage: answered, not quoted or declined"
QUALITY = "mean quality of the answered"
F1 = "token F1 of the answered"
GOLD = "questions with a gold answer"  # the others count in coverage and quality alone
SOME = 2  # fewer values have no interval

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the data: a question, its accepted answers where there are any, and the dialogue it is about."""

    question: str
    answers: tuple[str, ...] = ()
    conversation: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What the questions are asked of; one of them is given.

    Attributes:
        brain: a brain's directory, opened for reading: nothing is left in it.
        corpus: JSON Lines of {pid, title?, text}, read into a brain of its own.
        turns: JSON Lines of dialogues, each read into a brain of its own.
    """

    brain: Path | None = None
    corpus: Path | None = None
    turns: Path | None = None

    def __post_init__(self) -> None:
        if sum(path is not None for path in (self.brain, self.corpus, self.turns)) != 1:
            raise ValueError("one of brain, corpus and turns must be given")


def read_items(path: Path) -> list[Item]:
    """Return the rows {question, answer? or answers?, conv?} of a file.

    Raises:
        ValueError: a line is damaged, or there is none.
    """
    items = []
    for row in read_rows(path, ("question",)):
        found: Any = row.get("answers") or ([row["answer"]] if row.get("answer") is not None else [])
        items.append(Item(str(row["question"]), tuple(map(str, found)), str(row.get("conv") or "")))
    if not items:
        raise ValueError(f"{path} holds no questions")
    return items


def run(
    data: Path,
    source: Source,
    *,
    model: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    on_progress: Progress = lambda what, done, total: None,
) -> Report:
    """Return quality, token F1, coverage and latency of the answers to the questions of a file.

    Args:
        model: the reader; the configured one when None.
        limit: questions drawn; all when None.
    """
    items = read_items(data)
    if limit is not None:
        order = np.random.default_rng(seed).permutation(len(items))[:limit]
        items = [items[i] for i in sorted(order.tolist())]
    found: list[tuple[Item, Response]] = []
    for llm, asked in _brains(source, items, model):
        with llm:
            for item in asked:
                found.append((item, llm.ask(item.question)))
                on_progress("ask", len(found), len(items))
    return make_report("quality", quality_rows(found, data.name))


def _brains(source: Source, items: Sequence[Item], model: str | None) -> Iterator[tuple[RuvLLM, Sequence[Item]]]:
    """Yield opened systems, each with the questions that are for it."""
    if source.brain is not None:
        config = _with_model(load_config(source.brain / "ruvllm.toml"), model)
        yield RuvLLM(source.brain, config=config, read_only=True), items
        return
    config = _with_model(load_config(), model)
    if source.corpus is not None:
        with _filled(documents(read_corpus(source.corpus)), config) as llm:
            yield llm, items
        return
    assert source.turns is not None
    talks = dialogues(source.turns)
    unknown = {item.conversation for item in items} - talks.keys()
    if unknown:
        raise ValueError(f"{source.turns} has no dialogue {sorted(unknown)[0]!r}")
    for name, talk in talks.items():
        about = [item for item in items if item.conversation == name]
        if about:
            with _filled(talk, config) as llm:
                yield llm, about


@contextmanager
def _filled(sources: Sequence[Any], config: Config) -> Iterator[RuvLLM]:
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder, RuvLLM(folder, config=config) as llm:
        llm.ingest(sources)
        yield llm


def _with_model(config: Config, model: str | None) -> Config:
    if model is None:
        return config
    return msgspec.structs.replace(config, generation=msgspec.structs.replace(config.generation, model=model))


def answered(response: Response) -> bool:
    """Return whether a model answered: a quoted passage, and an answer that was declined, are none."""
    return response.finish_reason in ("stop", "length")


def quality_rows(found: Sequence[tuple[Item, Response]], name: str) -> list[Row]:
    """Return what answers to the data called `name` are worth; intervals are over dialogues, else over questions."""
    clusters = np.array([item.conversation or str(i) for i, (item, _) in enumerate(found)])
    is_answered = np.array([answered(response) for _, response in found], np.bool_)
    f1 = np.array([_best_f1(item, response) for item, response in found])
    judged = np.array([np.nan if r.quality is None else r.quality for _, r in found], np.float64)
    total_ms = np.array([response.timings_ms.get("total", np.nan) for _, response in found])
    readers = ", ".join(sorted({response.route.model for _, response in found}))
    judges = ", ".join(sorted({r.quality_source for _, r in found if r.quality is not None})) or "nobody"

    def mean(what: str, values: np.ndarray, among: np.ndarray) -> Row:
        among = among & ~np.isnan(values)
        if not among.any():
            return Row(what, float("nan"), "fraction")
        enough = len(set(clusters[among])) >= SOME
        interval = bootstrap_interval(values[among], clusters=clusters[among]) if enough else None
        return Row(what, float(values[among].mean()), "fraction", interval)

    everything = np.ones(len(found), np.bool_)
    return [
        Row(f"questions of {name}, asked of {readers}", len(found), ""),
        Row(GOLD, sum(bool(item.answers) for item, _ in found), ""),
        mean(COVERAGE, is_answered.astype(np.float64), everything),
        mean(f"{QUALITY}, judged by {judges}", judged, is_answered),
        mean("mean quality of all", judged, everything),
        mean(F1, f1, is_answered),
        mean("token F1 of all", f1, everything),
        Row("latency p50", float(np.nanpercentile(total_ms, 50)), "ms"),
        Row("latency p95", float(np.nanpercentile(total_ms, 95)), "ms"),
    ]


def _best_f1(item: Item, response: Response) -> float:
    return max((token_f1(response.text, gold) for gold in item.answers), default=float("nan"))
