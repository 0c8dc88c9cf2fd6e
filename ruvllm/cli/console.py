"""What the commands share: two consoles, progress bars, and how an answer looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ruvllm.memory import IngestProgress
from ruvllm.models import PullProgress
from ruvllm.pipeline import AnswerStream
from ruvllm.types import IngestReport, Neighbourhood, Response
from ruvllm.viz import label_of

__all__ = [
    "err",
    "ingest_bar",
    "out",
    "print_answer",
    "print_error",
    "print_graph",
    "print_ingest",
    "pull_bar",
    "stream_answer",
]

# What a document or an endpoint says is no command to the terminal: no title, no clipboard. Rich drops the other five.
_CONTROLS = dict.fromkeys((*range(7), *range(14, 32), *range(127, 160)), "\ufffd")


class _Console(Console):
    """A console whose texts hold no control characters but line ends and tabs; styles are Rich's own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to print, a mark in the place of each control character."""
        return super().render_str(text.translate(_CONTROLS), **options)


out = _Console(highlight=False, soft_wrap=True, emoji=False)
err = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

PREVIEW_CHARS = 160
TIMES = {"embed": "embed", "retrieve": "retrieve", "first_token": "first token", "total": "total"}  # stage -> its name
STRONGEST = 10


@contextmanager
def pull_bar() -> Iterator[Callable[[PullProgress], None]]:
    """Yield a callback that draws a download's progress on stderr."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        tasks: dict[tuple[str, str], object] = {}

        def show(step: PullProgress) -> None:
            if step.stage == "done":
                return
            key = (step.model, step.stage)
            if key not in tasks:
                tasks[key] = progress.add_task(f"{step.stage} {step.model}", total=step.total_bytes or None)
            progress.update(tasks[key], completed=step.done_bytes)  # type: ignore[arg-type]

        yield show


@contextmanager
def ingest_bar() -> Iterator[Callable[[IngestProgress], None]]:
    """Yield a callback that draws an ingest's progress on stderr."""
    columns = (
        SpinnerColumn(),
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents, {task.fields[chunks]} chunks"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("reading", total=None, chunks=0)

        def show(step: IngestProgress) -> None:
            progress.update(task, completed=step.documents_done, total=step.documents_total, chunks=step.chunks)

        yield show


def print_ingest(report: IngestReport) -> None:
    """Say what an ingest did, failures last."""
    rate = report.chunks / report.seconds if report.seconds else 0.0
    out.print(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged; "
        f"{report.chunks} chunks in {report.seconds:.1f} s ({rate:.0f}/s)"
    )
    for failure in report.failures:
        err.print(f"[yellow]not read:[/] {escape(failure.source)}: {escape(failure.reason)}")


def print_graph(graph: Neighbourhood) -> None:
    """Say how many nodes and edges of each type there are, and which edges are the strongest."""
    for name, kinds in (("nodes", [n.type for n in graph.nodes]), ("edges", [e.type for e in graph.edges])):
        counts = ", ".join(f"{kind.value} {count}" for kind, count in Counter(kinds).most_common())
        out.print(f"{len(kinds)} {name}" + (f": {counts}" if counts else ""))
    labels = {node.id: _shortened(label_of(node), 50) for node in graph.nodes}
    edges = [edge for edge in graph.edges if graph.around is None or graph.around in (edge.src, edge.dst)]
    for edge in edges[:STRONGEST]:
        ends = f"{edge.src} {labels[edge.src]} → {edge.dst} {labels[edge.dst]}"
        out.print(f"  {edge.weight:.2f} [cyan]{edge.type.value}[/] {escape(ends)}")


def _shortened(text: str, chars: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def print_error(error: Exception) -> None:
    """Say in one line what went wrong."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    err.print("[bold red]error:[/]", escape(text))


def stream_answer(stream: AnswerStream) -> Response:
    """Print an answer: word by word on a terminal, whole elsewhere; then its sources."""
    if not out.is_terminal:
        response = stream.response
        print_answer(response)
        return response
    for text in stream:
        out.print(text, end="", markup=False)
    response = stream.response
    out.print()
    if response.draft:
        out.print("[yellow]the reader is not sure of that[/]")
        out.print(response.text, markup=False)
    _print_details(response)
    return response


def print_answer(response: Response) -> None:
    """Print a finished answer and its sources."""
    out.print(response.text, markup=False)
    _print_details(response)


def _print_details(response: Response) -> None:
    for warning in response.warnings:
        err.print(f"[yellow]note:[/] {escape(warning)}")
    for source in response.sources:
        mark = "[green]*[/]" if source.used else " "
        where = " ".join(part for part in (source.title, f"({source.source})" if source.source else None) if part)
        preview = _shortened(source.text, PREVIEW_CHARS)
        out.print(f"{mark} [cyan]{source.number}[/] {escape(where)}\n    [dim]{escape(preview)}[/]")
    out.print(f"[dim]{escape(summary(response))}[/]")


def summary(response: Response) -> str:
    """One line: id, route, confidence, timings."""
    confidence = "unknown" if response.confidence is None else f"{response.confidence:.2f}"
    times = [
        f"{name} {ms:.0f} ms" for stage, name in TIMES.items() if (ms := response.timings_ms.get(stage)) is not None
    ]
    tokens = [f"{response.completion_tokens} tokens"] if response.completion_tokens else []
    return (
        f"id {response.id} · {response.route.model} ({response.route.decided_by}) · confidence {confidence} · "
        f"{', '.join(times + tokens)}"
    )
