"""`ruvllm bench traces`: what is kept for training, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import Json, Seed, measured
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(traces)


def traces(
    data: Annotated[Path, typer.Option(help="Folder with text/, qa/ and routing/.")], seed: Seed = 0, json: Json = False
) -> None:
    """Tags against gold classes, what counts as the holdout's in other words, and what keeping prompts costs."""
    from ruvllm.bench.traces import run

    with measured(seed=seed) as settings:
        report = run(data, settings)
    print_report(report, json=json)
