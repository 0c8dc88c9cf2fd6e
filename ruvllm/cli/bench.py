"""`ruvllm bench NAME`: the measurements behind the documented figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from ruvllm.cli import (
    bench_certificate,
    bench_compression,
    bench_enrichment,
    bench_judge,
    bench_ladder,
    bench_memory,
    bench_models,
    bench_quality,
    bench_rollout,
    bench_routers,
    bench_service,
    bench_tuning,
)
from ruvllm.cli.bench_report import print_report
from ruvllm.cli.console import err

__all__ = ["register"]

bench_app = typer.Typer(help="Measure; every figure in the documentation names its command.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@bench_app.callback()
def _root() -> None:
    pass


@bench_app.command()
def reader(
    corpus: Annotated[Path, typer.Option(help="JSON Lines of {pid, title, text}; may be gzipped.")],
    questions: Annotated[Path, typer.Option(help="JSON Lines of {id, question, answers, gold_pids}.")],
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Readers to measure.")] = None,
    n: Annotated[int, typer.Option(help="Questions drawn.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    json: JsonOption = False,
) -> None:
    """Token F1 of a reader with no, retrieved and gold context: how much any memory can help it."""
    from ruvllm.bench.reader import run

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        tasks: dict[str, object] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)  # type: ignore[arg-type]

        report = run(corpus, questions, model or ["smollm2-135m"], n=n, seed=seed, on_progress=show)
    print_report(report, json=json)


@bench_app.command()
def kernels(
    only: Annotated[list[str] | None, typer.Option("--only", help="A kernel family; may be repeated.")] = None,
    json: JsonOption = False,
) -> None:
    """Every kernel on one thread: our time, each peer's, the ratio to the fastest, and what the machine allows."""
    from ruvllm.bench.kernels import run

    with err.status("measuring") as status:
        report = run(only or (), on_family=lambda name: status.update(f"measuring {name}"))
    print_report(report, json=json)


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    bench_memory.register(bench_app)
    bench_compression.register(bench_app)
    bench_enrichment.register(bench_app)
    bench_models.register(bench_app)
    bench_ladder.register(bench_app)
    bench_routers.register(bench_app)
    bench_certificate.register(bench_app)
    bench_service.register(bench_app)
    bench_quality.register(bench_app)
    bench_judge.register(bench_app)
    bench_tuning.register(bench_app)
    bench_rollout.register(bench_app)
    app.add_typer(bench_app, name="bench")
