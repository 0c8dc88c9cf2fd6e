"""`ruvllm bench routers | stream | budgets`: who routes best on recorded outcomes, what learning them in turn costs,
and whether limits are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import measured
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (routers, stream, budgets):
        app.command()(command)


def routers(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="JSON Lines of {prompt, score {model: 0..1}, subject?, cost_usd?}; may be gzipped."),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", "-m", help="A model to route between; repeat it. All when left out.")
    ] = None,
    weak: Annotated[str | None, typer.Option(help="The weak model; the cheapest when left out.")] = None,
    strong: Annotated[str | None, typer.Option(help="The strong model; the best when left out.")] = None,
    train: Annotated[list[Path] | None, typer.Option(help="A file to learn from, instead of folds; repeat it.")] = None,
    test: Annotated[list[Path] | None, typer.Option(help="A file to be judged on; repeat it.")] = None,
    leave_out_subjects: Annotated[
        bool, typer.Option("--leave-out-subjects", help="Judge each subject with what the others taught.")
    ] = False,
    ceiling: Annotated[
        bool, typer.Option("--ceiling", help="Show what large learners make of the router's own features; slow.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of folds and of learning.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps embeddings for the next run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Our router beside simple ones and the oracle on the same questions; a win is an interval above 0."""
    from ruvllm.bench.routers.bench import Files, run

    files = Files(both=data or (), train=train or (), test=test or ())
    with measured(seed=seed, cache=cache) as settings:
        report = run(
            files,
            settings,
            models=models,
            weak=weak,
            strong=strong,
            leave_out_subjects=leave_out_subjects,
            ceiling=ceiling,
        )
    print_report(report, json=json)


def stream(
    data: Annotated[list[Path], typer.Argument(help="Files as of `bench routers`, with a subject or benchmark a row.")],
    models: Annotated[
        list[str] | None, typer.Option("--models", "-m", help="A model; repeat it. All when left out.")
    ] = None,
    topics: Annotated[int, typer.Option(min=2, help="Topics of the stream: the largest.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of their order and of learning.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps embeddings for the next run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forgetting and plasticity loss over topics that are learnt one after another: nothing, EWC, replay, both."""
    from ruvllm.bench.routers.stream import run

    with measured(seed=seed, cache=cache) as settings:
        report = run(data, settings, models=models, topics=topics)
    print_report(report, json=json)


def budgets(
    data: Annotated[
        list[Path], typer.Argument(help="Files as of `bench routers`, with cost_usd, cost or latency_ms {model} a row.")
    ],
    models: Annotated[
        list[str] | None, typer.Option("--models", "-m", help="A model; repeat it. All when left out.")
    ] = None,
    orders: Annotated[int, typer.Option(min=1, help="Seeded orders in which the requests come.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of folds, orders and learning.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps embeddings for the next run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Whether budgets of mean cost and limits of latency are kept on recorded outcomes, and the quality they leave."""
    from ruvllm.bench.routers.budgets import run

    with measured(seed=seed, cache=cache) as settings:
        report = run(data, settings, models=models, orders=orders)
    print_report(report, json=json)
