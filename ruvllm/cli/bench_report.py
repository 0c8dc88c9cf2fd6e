"""How a bench's figures look: a table for people, or one JSON object."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ruvllm.bench.report import Report, Row
from ruvllm.cli.console import out

__all__ = ["print_report"]


def print_report(report: Report, *, json: bool) -> None:
    """Print a report for people, or as one JSON object."""
    if json:
        print(msgspec.json.encode(report).decode())
        return
    # a terminal breaks long cells; a file takes lines as long as they are
    (out if out.is_terminal else Console(highlight=False, width=10_000)).print(_table(report.rows))
    commit = f", commit {report.commit}" if report.commit else ""  # none where the package was installed
    out.print(f"[dim]{report.machine['processor']}, {report.machine['cores']} cores{commit}[/]")


def _table(rows: Sequence[Row]) -> Table:
    """Return a table with those columns that any row fills."""
    columns = [(title, [show(row) for row in rows]) for title, show in COLUMNS.items()]
    columns = [(title, cells) for title, cells in columns if any(cells)]
    table = Table(*(title for title, _ in columns), box=None)
    for cells in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*cells)
    return table


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "" if value is None else "not measured"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


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
