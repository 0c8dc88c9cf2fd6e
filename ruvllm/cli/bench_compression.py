"""`ruvllm bench compression`: clusters, summaries, and what archiving costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import Cache, Json, Limit, Model, Orders, Seed, measured
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(compression)


def compression(
    topics: Annotated[Path, typer.Option(help="JSON Lines of {text, intent}; may be gzipped.")],
    corpus: Annotated[Path | None, typer.Option(help="JSON Lines of {pid, title, text}.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Questions about the corpus.")] = None,
    turns: Annotated[Path | None, typer.Option(help="Dialogues, a turn a line.")] = None,
    dialogue_questions: Annotated[Path | None, typer.Option(help="Questions about the dialogues.")] = None,
    label: Annotated[str, typer.Option(help="Key of the topic.")] = "intent",
    limit: Limit = None,
    orders: Orders = 5,
    seed: Seed = 0,
    model: Model = "none",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Purity of clusters, faithfulness of summaries, and what archiving four fifths does to recall, memory and time."""
    from ruvllm.bench.compression import run

    if (corpus is None) != (questions is None) or (turns is None) != (dialogue_questions is None):
        raise typer.BadParameter("--corpus belongs to --questions, --turns to --dialogue-questions")
    with measured(limit=limit, orders=orders, seed=seed, cache=cache) as settings:
        report = run(
            topics,
            settings,
            model=model,
            corpus=None if corpus is None or questions is None else (corpus, questions),
            dialogue=None if turns is None or dialogue_questions is None else (turns, dialogue_questions),
            label=label,
        )
    print_report(report, json=json)
