"""`ruvllm bench NAME`: the measurements behind the documented figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from ruvllm.bench.report import Report, Row
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


def print_report(report: Report, *, json: bool) -> None:
    """Print a report for people, or as one JSON object."""
    if json:
        print(msgspec.json.encode(report).decode())
        return
    # a terminal breaks long cells; a file takes lines as long as they are
    (out if out.is_terminal else Console(highlight=False, width=10_000)).print(_table(report.rows))
    out.print(f"[dim]{report.machine['processor']}, {report.machine['cores']} cores, commit {report.commit}[/]")


def _table(rows: Sequence[Row]) -> Table:
    """Return a table with those columns that any row fills."""
    columns = [(title, [show(row) for row in rows]) for title, show in COLUMNS.items()]
    columns = [(title, cells) for title, cells in columns if any(cells)]
    table = Table(*(title for title, _ in columns), box=None)
    for cells in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*cells)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "name": lambda row: escape(row.name),
    "value": lambda row: _number(row.value),
    "unit": lambda row: row.unit,
    "95 % interval": lambda row: " to ".join(map(_number, row.interval or ())),
    "peers": lambda row: "\n".join(f"{escape(name)} {_number(value)}" for name, value in row.peers.items()),
    "ratio": lambda row: _number(row.ratio),
    "floor": lambda row: _number(row.floor),
    "target": lambda row: "" if row.target is None else f"{row.target:g}",
    "": lambda row: "" if row.met is None else "met" if row.met else "missed",
}


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(bench_app, name="bench")
