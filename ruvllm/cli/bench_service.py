"""`ruvllm bench soak | footprint`: what a long-running process costs, and what it grows by."""

from __future__ import annotations

from typing import Annotated

import typer

from ruvllm.cli.bench_memory import Json, Seed, progress
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def soak(
    requests: Annotated[int, typer.Option(min=100, help="Requests put to one process.")] = 10_000,
    fresh: Annotated[bool, typer.Option(help="Ask new questions only: memory has more to remember.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Memory, open files and threads of a process over many requests; models cost nothing here."""
    from ruvllm.bench.soak import run
    from ruvllm.config import load_config

    with progress() as show:
        report = run(requests, load_config(), fresh=fresh, seed=seed, on_progress=show)
    print_report(report, json=json)


def footprint(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the brain.")] = 100_000,
    edges: Annotated[int, typer.Option(min=0, help="Links among them.")] = 500_000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Memory of a process that opened a brain of a given size, part by part; no model is loaded."""
    from ruvllm.bench.footprint import run
    from ruvllm.config import load_config

    with progress() as show:
        report = run(nodes, edges, load_config(), seed=seed, on_progress=show)
    print_report(report, json=json)


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (soak, footprint):
        app.command()(command)
