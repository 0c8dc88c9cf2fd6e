"""`ruvllm bench enrichment`: what names found by a local model do to recall."""

from __future__ import annotations

from typing import Annotated

import typer

from ruvllm.cli.bench_memory import Cache, Corpus, Json, Limit, Questions, Seed, Titles, measured
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(enrichment)


def enrichment(
    corpus: Corpus,
    questions: Questions,
    model: Annotated[str, typer.Option("--model", "-m", help="That reads the passages.")] = "smollm2-135m",
    passages: Annotated[int, typer.Option(min=1, help="Passages of the corpus, drawn.")] = 600,
    max_links: Annotated[int, typer.Option(min=0, help="Links that a passage may have and is still read.")] = 3,
    read: Annotated[
        int | None, typer.Option(min=1, help="Passages read, those with the fewest links first; all when left out.")
    ] = None,
    titles: Titles = "shown",
    limit: Limit = 60,
    seed: Seed = 0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Recall with and without the links by names that a local model finds, and the time it takes to read."""
    from ruvllm.bench.enrichment import run

    with measured(titles=titles, limit=limit, seed=seed, model=model, cache=cache) as settings:
        report = run(corpus, questions, settings, passages=passages, max_links=max_links, read=read)
    print_report(report, json=json)
