"""`ruvllm bench learning --system`: a whole brain on one curve, from its first question to its last.

Users ask a brain of a corpus, every answer is rated by whether it says a gold answer, or by its token F1, and the brain
learns from time to time: ranking, edges, router, judge and concepts. Before, between and after, a copy of it answers
held-out questions, which share no gold passage with those that were rated. Weights of models never change.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ruvllm.bench.cache import Cache, CachedEmbedder
from ruvllm.bench.corpora import Question, read_corpus, read_questions, sample
from ruvllm.bench.evaluation import documents
from ruvllm.bench.plot import line_plot
from ruvllm.bench.pool import Pool
from ruvllm.bench.replay import Replay
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings
from ruvllm.config import Config
from ruvllm.embedding import open_embedder
from ruvllm.system import RuvLLM
from ruvllm.text import normalized_tokens, token_f1
from ruvllm.types import Embedder, Response

__all__ = ["Stream", "SystemLearning", "run"]

K = 10
METRICS = ("recall@10", "nDCG@10", "token F1", "says the answer", "judge's quality", "cost", "latency")
UNITS = {"cost": "router's unit", "latency": "ms"}
START, HONEST = "at the start", "rated honestly"
USERS = 20
MAX_COST, F1_MARGIN = 0.7, 0.02


@dataclass(frozen=True, slots=True)
class Stream:
    """What is asked of a brain.

    Attributes:
        tiers: models, the cheapest first; the last is what answers until the router knows better.
        rated: questions that are asked and rated.
        held_out: questions, at most, that only ask what was learnt.
        rounds: how often the brain learns on the way.
        explore: share of the requests whose tier is drawn to learn from it.
        rated_by: what users want: that an answer "says" a gold one, or a high token "f1", which they state as quality.
    """

    tiers: tuple[str, ...]
    rated: int = 400
    held_out: int = 200
    rounds: int = 4
    explore: float = 0.2
    rated_by: Literal["says", "f1"] = "says"

    def __post_init__(self) -> None:
        if not self.tiers:
            raise ValueError("tiers must name at least one model")
        for name in ("rated", "held_out", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1 ({getattr(self, name)})")
        if self.rounds > self.rated:
            raise ValueError(f"rounds must be <= rated ({self.rounds} > {self.rated})")


@dataclass(frozen=True, slots=True)
class SystemLearning:
    """The report, and the curves behind it: metric -> (ratings, mean over the held-out questions of all orders)."""

    report: Report
    curves: Mapping[str, list[tuple[int, float]]]

    def plot(self) -> str:
        """Return the curves of what lies in [0, 1] as SVG text; cost is that at the start = 1."""
        cost = self.curves["cost"]
        shown = {metric: self.curves[metric] for metric in METRICS[:5]}
        shown["cost, of that at the start"] = [(count, value / cost[0][1]) for count, value in cost]
        return line_plot(shown, x_label="rated answers", y_label="share")


@dataclass(frozen=True, slots=True)
class _Raters:
    """Who rates: `flipped` is the share of all ratings that are turned round, `attackers` that of users who always
    rate the wrong way round; nobody does where `silent`."""

    flipped: float = 0.0
    attackers: float = 0.0
    silent: bool = False

    def quality(self, true: float, user: int, rng: np.random.Generator) -> float:
        is_wrong = user < self.attackers * USERS or rng.random() < self.flipped
        return 1.0 - true if is_wrong else true


RATERS = {
    HONEST: _Raters(),
    "with 20 % of the ratings turned round": _Raters(flipped=0.2),
    "with a tenth of the users rating the wrong way round": _Raters(attackers=0.1),
    "without any rating": _Raters(silent=True),
}


@dataclass(frozen=True, slots=True)
class _Tools:
    """What every brain of a run shares."""

    config: Config
    embedder: Embedder
    replay: Replay

    def open(self, folder: Path, *, explore: float = 0.0, read_only: bool = False) -> RuvLLM:
        """Open a brain whose router explores so much."""
        router = msgspec.structs.replace(self.config.router, explore=explore, calibrate=0.0)
        config = msgspec.structs.replace(self.config, router=router)
        return RuvLLM(folder, config=config, embedder=self.embedder, open_engine=self.replay.open, read_only=read_only)


def run(corpus: Path, questions: Path, settings: Settings, stream: Stream) -> SystemLearning:
    """Return figures on the held-out questions before and after the ratings, for honest, mistaken and malicious users.

    Raises:
        ValueError: there are too few questions with gold passages in the corpus.
    """
    asked = _questions(questions, corpus, settings)
    pool = Pool(METRICS)
    points: dict[int, list[np.ndarray]] = {}
    with _open_tools(settings, stream) as tools, tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        base, brain = Path(folder) / "base", Path(folder) / "brain"
        with tools.open(base) as llm:
            llm.ingest(documents(read_corpus(corpus), hide_titles=settings.hide_titles))
        for order in range(settings.orders):
            rng = np.random.default_rng((settings.seed, order))
            rated, places = _split(asked, stream, rng)
            held_out = [asked[i] for i in places]
            start = _answers(base, tools, held_out)
            pool.add(START, places, start)
            points.setdefault(0, []).append(start)
            for done, (name, raters) in enumerate(RATERS.items(), order * len(RATERS) + 1):
                shutil.copytree(base, brain)
                reached = _lives(brain, tools, rated, held_out, raters, stream, rng)
                pool.add(name, places, reached[len(rated)])
                if name == HONEST:
                    for count, figures in reached.items():
                        points.setdefault(count, []).append(figures)
                shutil.rmtree(brain)
                settings.on_progress("lives", done, settings.orders * len(RATERS))
    means = {count: np.concatenate(found).mean(axis=0) for count, found in sorted(points.items())}
    curves = {metric: [(count, float(mean[i])) for count, mean in means.items()] for i, metric in enumerate(METRICS)}
    return SystemLearning(make_report("learning", _rows(pool)), curves)


@contextmanager
def _open_tools(settings: Settings, stream: Stream) -> Iterator[_Tools]:
    replace = msgspec.structs.replace
    config = settings.config
    config = replace(
        config,
        generation=replace(config.generation, model=stream.tiers[-1]),
        models=replace(config.models, tiers=stream.tiers),
    )
    with Cache(settings.cache) as cache, Replay(cache) as replay:
        embedder = settings.embedder or open_embedder(config.embedding, config.models)
        yield _Tools(config, CachedEmbedder(embedder, cache), replay)


def _questions(questions: Path, corpus: Path, settings: Settings) -> list[Question]:
    known = {passage.pid for passage in read_corpus(corpus)}
    held = [one for one in read_questions(questions) if one.gold_pids and known.issuperset(one.gold_pids)]
    if len(held) < 2:
        raise ValueError(f"{questions} has {len(held)} questions with gold passages in {corpus}; two are the least")
    return held if settings.limit is None else sample(held, settings.limit, settings.seed)


def _split(asked: Sequence[Question], stream: Stream, rng: np.random.Generator) -> tuple[list[Question], list[int]]:
    """Return the rated questions, at most half of all, and places of held-out ones that share no gold passage."""
    order = rng.permutation(len(asked)).tolist()
    rated = [asked[i] for i in order[: min(stream.rated, len(asked) // 2)]]
    used = frozenset[str]().union(*(one.gold_pids for one in rated))
    places = [i for i in order[len(rated) :] if used.isdisjoint(asked[i].gold_pids)][: stream.held_out]
    if not places:
        raise ValueError("every question shares a gold passage with a rated one: rate fewer")
    return rated, places


# -- one life of a brain ---------------------------------------------------------------------------------------------


def _lives(
    brain: Path,
    tools: _Tools,
    rated: Sequence[Question],
    held_out: Sequence[Question],
    raters: _Raters,
    stream: Stream,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Return figures on the held-out questions by how many answers were rated before; the brain is closed each time."""
    reached = {}
    ends = [round(len(rated) * (i + 1) / stream.rounds) for i in range(stream.rounds)]
    for start, end in pairwise([0, *ends]):
        with tools.open(brain, explore=stream.explore) as llm:
            for question in rated[start:end]:
                response = llm.ask(question.question)
                user = int(rng.integers(USERS))
                if not raters.silent:
                    true = RATED_BY[stream.rated_by](response.text, question)
                    llm.feedback(response.id, quality=raters.quality(true, user, rng), rater=f"user {user}")
            llm.learn()
        if end == len(rated) or raters == RATERS[HONEST]:
            reached[end] = _answers(brain, tools, held_out)
    return reached


def _answers(brain: Path, tools: _Tools, questions: Sequence[Question]) -> np.ndarray:
    """Return (questions, metrics) of a copy of a brain that is open for reading: asking teaches nothing."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        copy = shutil.copytree(brain, Path(folder) / "copy")
        with tools.open(copy, read_only=True) as llm:
            for question in questions:
                found = [str(hit.node.source) for hit in llm.retrieve(question.question, K)]
                tools.replay.last = None
                figures.append((*_found(found, question), *_said(llm.ask(question.question), question, tools.replay)))
    return np.array(figures)


def _found(sources: Sequence[str], question: Question) -> tuple[float, float]:
    """Return recall and nDCG at K of the gold passages, each counted where it comes first."""
    gain = 1.0 / np.log2(np.arange(2, K + 2))
    hit = np.array([source in question.gold_pids for source in dict.fromkeys(sources)], np.float64)
    gold = len(question.gold_pids)
    return float(hit.sum() / gold), float((hit * gain[: len(hit)]).sum() / gain[:gold].sum())


def _said(response: Response, question: Question, replay: Replay) -> tuple[float, ...]:
    """Return token F1, whether a gold answer is said, the judge's quality, cost and latency of one answer."""
    said = replay.last
    latency = response.timings_ms["total"]
    if said is not None:  # it may have been read from the cache: what it took when it was made counts
        latency += said.latency_ms - response.timings_ms["generate"]
    return (
        _f1(response.text, question),
        _says(response.text, question),
        math.nan if response.quality is None else response.quality,
        0.0 if said is None else said.cost,
        latency,
    )


def _says(answer: str, question: Question) -> float:
    """Return 1 if an answer says one of the gold answers, word by word, else 0."""
    words = f" {' '.join(normalized_tokens(answer))} "
    return float(any(f" {' '.join(normalized_tokens(gold))} " in words for gold in question.answers))


def _f1(answer: str, question: Question) -> float:
    return max(token_f1(answer, gold) for gold in question.answers)


RATED_BY = {"says": _says, "f1": _f1}


# -- rows ------------------------------------------------------------------------------------------------------------


def _rows(pool: Pool) -> list[Row]:
    rows = []
    for name in pool.systems:
        rows += [replace(row, unit=_unit(row.name)) for row in pool.rows(name)]
    for name in RATERS:
        for metric in METRICS[:5]:
            rows.append(pool.gain(name, START, metric, name=f"{name}, change of {metric}"))
    rows.append(pool.bound(HONEST, START, "token F1", name="token F1, 95 % sure of a change above", margin=F1_MARGIN))
    cost = pool.mean(HONEST, "cost") / pool.mean(START, "cost")
    rows.append(Row("cost of an answer, of that at the start", cost, "fraction", target=MAX_COST, met=cost <= MAX_COST))
    latency = pool.median(HONEST, "latency") / pool.median(START, "latency")
    rows.append(Row("median latency, of that at the start", latency, "fraction"))
    return rows


def _unit(name: str) -> str:
    return UNITS.get(name.rpartition(", ")[2], "fraction")
