"""`ruvllm bench NAME`: the measurements behind the documented figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress
from rich.table import Table

from ruvllm.bench.report import Report
from ruvllm.cli.console import err, out

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


def print_report(report: Report, *, json: bool) -> None:
    """Print a report for people, or as one JSON object."""
    if json:
        print(msgspec.json.encode(report).decode())
        return
    table = Table("", "value", "unit", "95 % interval", "target", "", box=None)
    for row in report.rows:
        interval = f"{row.interval[0]:.3f} to {row.interval[1]:.3f}" if row.interval else ""
        target = "" if row.target is None else f"{row.target:g}"
        met = "" if row.met is None else "met" if row.met else "missed"
        table.add_row(row.name, f"{row.value:.3f}", row.unit, interval, target, met)
    out.print(table)
    out.print(f"[dim]{report.machine['processor']}, {report.machine['cores']} cores, commit {report.commit}[/]")


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(bench_app, name="bench")
