"""`ruvllm compress`: clusters of what is remembered become concepts, shown as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import err, out
from ruvllm.cli.schedule import print_table
from ruvllm.system import RuvLLM

if TYPE_CHECKING:
    from ruvllm.learning.compression import CompressionReport

__all__ = ["register"]

SHOWN = 40  # clusters


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(compress)


def compress(
    brain: BrainOption = DEFAULT_BRAIN,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the clusters and write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sum up clusters of what is remembered as concepts; what did not change stays. Ctrl-C keeps what is written."""
    with RuvLLM(existing(brain)) as llm, err.status("finding clusters"):
        report = llm.compress(dry_run=dry_run)
    if json:
        print(msgspec.json.encode(report).decode())
        return
    _print(report, dry_run)


def _print(report: CompressionReport, dry_run: bool) -> None:
    if not report.clusters:
        out.print("no clusters: nothing is dense enough (compression.min_density)")
        return
    table = Table("level", "nodes", "density", "about", "state", "summary", box=None)
    for row in report.clusters[:SHOWN]:
        table.add_row(
            str(row.level), str(row.size), f"{row.density:.2f}", escape(row.title), row.state, row.summary or "-"
        )
    print_table(table)
    if len(report.clusters) > SHOWN:
        out.print(f"and {len(report.clusters) - SHOWN} more")
    out.print(
        f"{report.made} concepts {'would be ' if dry_run else ''}new, {report.changed} changed, {report.kept} kept, "
        f"{report.dissolved} dissolved"
    )
    if report.sentences:
        out.print(f"{report.supported} of {report.sentences} sentences of the model are supported by members")
    if report.reachable:
        out.print(f"{report.reachable} archived nodes are found through concepts")
