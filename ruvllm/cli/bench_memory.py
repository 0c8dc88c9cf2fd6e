"""`ruvllm bench retrieval | learning | forgetting | conversation | attribution | scale | worker | pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import Progress, TaskID

from ruvllm.cli.bench_report import print_report
from ruvllm.cli.console import err

__all__ = ["register"]

if TYPE_CHECKING:
    from ruvllm.bench.setup import Settings

Corpus = Annotated[Path, typer.Option(help="JSON Lines of {pid, title, text}; may be gzipped.")]
Questions = Annotated[Path, typer.Option(help="JSON Lines of {id, question, answers, gold_pids}.")]
Titles = Annotated[Literal["shown", "hidden"], typer.Option(help="Whether passages keep their titles.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Questions drawn; all when left out.")]
Orders = Annotated[int, typer.Option(min=1, help="Seeded orders in which questions are asked.")]
Seed = Annotated[int, typer.Option(help="Seed of all draws.")]
Model = Annotated[str, typer.Option("--model", "-m", help='Reader whose answers are rated; "none" for no reader.')]
FitCorpus = Annotated[
    Path | None, typer.Option(help="Corpus that attribution is fitted on; as it ships when left out.")
]
FitQuestions = Annotated[Path | None, typer.Option(help="Questions about that corpus.")]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps embeddings and answers for the next run.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Show = Callable[[str, int, int], None]


@contextmanager
def progress() -> Iterator[Show]:
    """Yield what shows how far each part of a bench is, on stderr."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (retrieval, learning, forgetting, conversation, attribution, scale, worker, pipeline):
        app.command()(command)


def retrieval(
    corpus: Corpus,
    questions: Questions,
    feedback: Annotated[Path | None, typer.Option(help="JSON Lines of {id, rating?, good_pids?}.")] = None,
    titles: Titles = "shown",
    limit: Limit = None,
    orders: Orders = 5,
    seed: Seed = 0,
    model: Model = "none",
    fit_corpus: FitCorpus = None,
    fit_questions: FitQuestions = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Recall of the evidence: plain search, the untrained memory, and the memory after ratings."""
    from ruvllm.bench.retrieval import run

    with measured(
        titles=titles,
        limit=limit,
        orders=orders,
        seed=seed,
        model=model,
        fit_corpus=fit_corpus,
        fit_questions=fit_questions,
        cache=cache,
    ) as settings:
        report = run(corpus, questions, settings, feedback=feedback)
    print_report(report, json=json)


def learning(
    corpus: Corpus,
    questions: Questions,
    ask_corpus: Annotated[Path | None, typer.Option(help="Another corpus, to ask what the first taught.")] = None,
    ask_questions: Annotated[Path | None, typer.Option(help="Questions about the other corpus.")] = None,
    titles: Titles = "shown",
    limit: Limit = None,
    orders: Orders = 5,
    seed: Seed = 0,
    model: Model = "none",
    plot: Annotated[Path | None, typer.Option(help="SVG file of recall by ratings.")] = None,
    fit_corpus: FitCorpus = None,
    fit_questions: FitQuestions = None,
    cache: Cache = None,
    whole: Annotated[bool, typer.Option("--system", help="A whole brain instead of its ranking alone.")] = False,
    tier: Annotated[list[str], typer.Option(help="With --system: a model; repeat, the cheapest first.")] = [],  # noqa: B006
    rated: Annotated[int, typer.Option(min=1, help="With --system: questions that are asked and rated.")] = 400,
    held_out: Annotated[int, typer.Option(min=1, help="With --system: questions kept for the curve.")] = 200,
    rated_by: Annotated[
        Literal["says", "f1"], typer.Option(help="With --system: users want that an answer says a gold one, or its F1.")
    ] = "says",
    json: Json = False,
) -> None:
    """What ratings teach: by regime, with mistakes, under attack, on untouched topics, on another corpus.

    With --system: a whole brain, with judge, router, attention and concepts, from its first question to its last.
    """
    from ruvllm.bench import learning, system

    with measured(
        titles=titles,
        limit=limit,
        orders=orders,
        seed=seed,
        model=model,
        fit_corpus=fit_corpus,
        fit_questions=fit_questions,
        cache=cache,
    ) as settings:
        learnt = (
            system.run(corpus, questions, settings, system.Stream(tuple(tier), rated, held_out, rated_by=rated_by))
            if whole
            else learning.run(corpus, questions, settings, ask_corpus=ask_corpus, ask_questions=ask_questions)
        )
    if plot is not None:
        plot.write_text(learnt.plot(), encoding="utf-8")
    print_report(learnt.report, json=json)


def forgetting(
    data: Annotated[Path, typer.Argument(help="JSON Lines of {text, intent, domain}.")],
    interactions: Annotated[int, typer.Option(min=1, help="On other topics.")] = 10_000,
    orders: Orders = 5,
    seed: Seed = 0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """What thousands of interactions on other topics cost a topic that was learnt before."""
    from ruvllm.bench.forgetting import run

    with measured(orders=orders, seed=seed, cache=cache) as settings:
        report = run(data, settings, interactions=interactions)
    print_report(report, json=json)


def conversation(
    turns: Annotated[Path, typer.Option(help="JSON Lines of {conv, session, date_time, dia_id, speaker, text}.")],
    questions: Annotated[Path, typer.Option(help="JSON Lines of {id, conv, question, category, evidence}.")],
    limit: Limit = None,
    seed: Seed = 0,
    model: Model = "none",
    fit_corpus: FitCorpus = None,
    fit_questions: FitQuestions = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Recall of evidence in long dialogues, by category, taught by the other dialogues."""
    from ruvllm.bench.conversation import run

    with measured(
        limit=limit, seed=seed, model=model, fit_corpus=fit_corpus, fit_questions=fit_questions, cache=cache
    ) as settings:
        report = run(turns, questions, settings)
    print_report(report, json=json)


def attribution(
    corpus: Corpus,
    questions: Questions,
    titles: Titles = "shown",
    limit: Limit = None,
    seed: Seed = 0,
    model: Model = "none",
    fit_corpus: FitCorpus = None,
    fit_questions: FitQuestions = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """How well the sources that an answer needed are told from the others it was shown."""
    from ruvllm.bench.attribution import run

    with measured(
        titles=titles,
        limit=limit,
        seed=seed,
        model=model,
        fit_corpus=fit_corpus,
        fit_questions=fit_questions,
        cache=cache,
    ) as settings:
        report = run(corpus, questions, settings)
    print_report(report, json=json)


def scale(
    corpus: Annotated[list[Path], typer.Option(help="JSON Lines of {pid, title, text}; may be repeated.")],
    questions: Questions,
    nodes: Annotated[int, typer.Option(min=1, help="Documents; sentences of the corpora fill up.")] = 20_000,
    seed: Seed = 0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """What a brain of a given size costs to fill, to open, to hold and to search; embedding is left out."""
    from ruvllm.bench.scale import run

    with measured(seed=seed, cache=cache) as settings:
        report = run(corpus, questions, settings, nodes=nodes)
    print_report(report, json=json)


def worker(
    corpus: Annotated[list[Path], typer.Option(help="JSON Lines of {pid, title, text}; may be repeated.")],
    questions: Questions,
    nodes: Annotated[int, typer.Option(min=1, help="Documents; sentences of the corpora fill up.")] = 20_000,
    blocks: Annotated[
        int, typer.Option(min=2, help="Blocks of requests beside each of nothing, a busy thread, and training.")
    ] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a block.")] = 5.0,
    limit: Limit = None,
    seed: Seed = 0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """How much later answers come while the background trains without a pause; embedding and reading cost nothing."""
    from ruvllm.bench.worker import run

    with measured(seed=seed, cache=cache, limit=limit) as settings:
        report = run(corpus, questions, settings, nodes=nodes, blocks=blocks, seconds=seconds)
    print_report(report, json=json)


def pipeline(
    corpus: Annotated[list[Path], typer.Option(help="JSON Lines of {pid, title, text}; may be repeated.")],
    questions: Questions,
    nodes: Annotated[int, typer.Option(min=1, help="Documents; sentences of the corpora fill up.")] = 20_000,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Also time this reader: 64 tokens over a prompt of 600.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What a request costs besides embedding and generation, stage by stage, and how many a second are answered."""
    from ruvllm.bench.pipeline import run

    with measured(seed=seed) as settings:
        report = run(corpus, questions, settings, nodes=nodes, model=model)
    print_report(report, json=json)


@contextmanager
def measured(
    *,
    titles: str = "shown",
    fit_corpus: Path | None = None,
    fit_questions: Path | None = None,
    **options: Any,
) -> Iterator[Settings]:
    """Yield the settings of a bench; progress is shown meanwhile."""
    from ruvllm.bench.setup import Settings

    if (fit_corpus is None) != (fit_questions is None):
        raise typer.BadParameter("--fit-corpus and --fit-questions belong together")
    fit_on = None if fit_corpus is None or fit_questions is None else (fit_corpus, fit_questions)
    with progress() as show:
        yield Settings(hide_titles=titles == "hidden", fit_on=fit_on, on_progress=show, **options)
