"""`ruvllm bench rollout`: what the trial of a student promises, on drawn trials."""

from __future__ import annotations

from typing import Annotated

import typer

from ruvllm.cli.bench_memory import Json, Seed, progress
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(rollout)


def rollout(
    runs: Annotated[int, typer.Option(min=2, help="Trials of each kind whose errors are counted.")] = 2000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """How often a trial of a student ends wrongly, the losses that it finds, and after how many requests."""
    from ruvllm.bench.rollout import run

    with progress() as show:
        report = run(runs, seed=seed, on_progress=show)
    print_report(report, json=json)
