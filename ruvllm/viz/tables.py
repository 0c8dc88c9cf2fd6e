"""Results as HTML tables for notebooks; everything that came from a document is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ruvllm.types import Hit, IngestReport, Node, Response
from ruvllm.viz.graph import label_of
from ruvllm.viz.svg import clean

__all__ = ["hits_html", "node_html", "report_html", "response_html", "snippet", "table"]

SNIPPET_CHARS = 200
LEFT = ' style="text-align: left"'


def hits_html(hits: Sequence[Hit]) -> str:
    """Return a table of hits, best first."""
    rows = (
        (rank, f"{hit.score:.4f}", _number(hit.similarity), _title(hit.node), snippet(hit.node.text), hit.node.source)
        for rank, hit in enumerate(hits, start=1)
    )
    return table(("rank", "score", "similarity", "title", "text", "source"), rows)


def response_html(response: Response) -> str:
    """Return an answer with its sources, * before those it used, and how it came about."""
    rows = (
        ("*" if source.used else "", source.number, source.title, snippet(source.text), source.source)
        for source in response.sources
    )
    route = f"{response.route.model} ({response.route.decided_by})"
    confidence = _number(response.confidence) or "unknown"
    parts = [f'<p dir="auto" style="white-space: pre-wrap">{clean(response.text)}</p>']
    if response.draft:
        parts.append(f"<p>The reader was not sure of its draft: {clean(response.draft)}</p>")
    if response.sources:
        parts.append(table(("used", "number", "title", "text", "source"), rows))
    parts.append(f"<p><small>id {clean(response.id)}, {clean(route)}, confidence {clean(confidence)}</small></p>")
    parts += [f"<p><b>note:</b> {clean(warning)}</p>" for warning in response.warnings]
    return "".join(parts)


def node_html(node: Node) -> str:
    """Return a node's fields; metadata last."""
    fields = {
        "id": node.id,
        "type": node.type.value,
        "text": node.text,
        "source": node.source,
        "trust": node.trust,
        "used": f"{node.use_count} times",
        "tier": node.tier.value,
    }
    return table(("field", "value"), (*fields.items(), *node.metadata.items()))


def report_html(report: IngestReport) -> str:
    """Return what an ingest did, then what could not be read."""
    names = ("added", "updated", "unchanged", "chunks")
    counts = table((*names, "seconds"), [(*(getattr(report, name) for name in names), f"{report.seconds:.1f}")])
    failures = [(failure.source, failure.reason) for failure in report.failures]
    return counts + (table(("not read", "reason"), failures) if failures else "")


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; every value is escaped."""
    head = "".join(f"<th{LEFT}>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    return f'<td dir="auto"{LEFT}>{"" if value is None else clean(value)}</td>'


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _title(node: Node) -> str | None:
    return label_of(node) if node.metadata.get("title") or node.metadata.get("heading") else None


def snippet(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET_CHARS else line[: SNIPPET_CHARS - 1] + "…"
