"""How the schedule of background jobs looks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ruvllm.cli.console import out
from ruvllm.memory.jobs import JobState

__all__ = ["print_jobs", "print_table", "when"]


def print_jobs(jobs: Sequence[JobState]) -> None:
    """Print when each background job ran and when it is due."""
    if not jobs:
        return
    table = Table("job", "every", "last run", "next", "runs", "failures", "state", box=None)
    for job in jobs:
        every = "on demand" if job.every_s is None else _duration(job.every_s)
        state = f"{job.state}, failed: {escape(job.last_error or '')}" if job.failed_in_row else job.state
        table.add_row(job.name, every, when(job.finished), when(job.due), str(job.runs), str(job.failures), state)
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table; a terminal breaks long cells, a file takes lines as long as they are."""
    (out if out.is_terminal else Console(highlight=False, width=10_000)).print(table)


def when(at: float | None) -> str:
    """Return a time as people of this place read it, "" for none."""
    return "" if at is None else f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"
