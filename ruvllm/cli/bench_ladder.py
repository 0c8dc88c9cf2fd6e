"""`ruvllm bench ladder`: the log of a real ladder of models that a router is trained and judged on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import progress
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(ladder)


def ladder(
    models: Annotated[list[str], typer.Option("--models", "-m", help="A tier, the smallest first; repeat it.")],
    data: Annotated[list[Path], typer.Option("--data", help="Questions, or passages they are about; repeat it.")],
    out: Annotated[Path, typer.Option(help="The log, .jsonl.gz; a run that was ended goes on from it.")],
    n: Annotated[int, typer.Option(min=1, help="Questions drawn from each benchmark.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="Threads of every tier; 0 takes every core.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Every question answered by every tier: score, latency, cost, tokens, and the smallest one's probe."""
    from ruvllm.bench.ladder import run

    with progress() as show:
        report = run(data, models, out, n=n, seed=seed, num_threads=threads, on_progress=show)
    print_report(report, json=json)
