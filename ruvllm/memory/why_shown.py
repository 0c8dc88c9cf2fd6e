"""Why an answer is what it is, in words and as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ruvllm.types import Edge, Feedback, Hit, Step
from ruvllm.viz.svg import clean
from ruvllm.viz.tables import snippet, table

if TYPE_CHECKING:
    from ruvllm.memory.why import Why, WhyEdge, WhySource

__all__ = ["why_html", "why_text"]

EDGES_SHOWN = 12
WORDS = 100  # characters of a text that stands in a line


def why_text(why: Why) -> str:
    """Return an explanation as lines of text."""
    lines = [f"question   {why.question or '(forgotten)'}", f"answer     {_line(why.answer) or '(forgotten)'}"]
    lines += [f"{name:10} {text}" for name, text in _about(why)]
    lines.append(
        "sources    as they were shown, with rank, score and way of today" if why.sources else "sources    none"
    )
    for source in why.sources:
        lines += [f"  {line}" for line in _source_lines(source)]
    for hit in why.newcomers:
        lines += [f"  new       {_node(hit)}", f"            {_line(hit.node.text)}", f"            {_found(hit)}"]
    if why.edges:
        lines.append("edges      weight now; what outcomes moved, of that by this answer's")
        names = _names(why)
        lines += [f"  {_edge(one, names)}" for one in why.edges[:EDGES_SHOWN]]
        hidden = len(why.edges) - EDGES_SHOWN
        lines += [f"  and {hidden} more"] if hidden > 0 else []
    return "\n".join(lines)


def why_html(why: Why) -> str:
    """Return an explanation as HTML."""
    rows = [
        (
            "*" if source.was_used else "",
            source.number,
            source.title or source.source,
            snippet(source.text),
            source.state,
            f"{source.credit:.2f} by {source.credit_by}",
            _helped(source.helped),
            f"{source.trust:.2f}",
            source.rank,
            None if source.hit is None else f"{source.hit.score:.4f}",
            None if source.hit is None else _found(source.hit),
        )
        for source in why.sources
    ]
    new = [
        ("new", None, _node(hit), snippet(hit.node.text), "", "", "", f"{hit.node.trust:.2f}", None, f"{hit.score:.4f}")
        for hit in why.newcomers
    ]
    heads = ("used", "number", "title", "text", "state", "credit", "mark", "trust", "rank today", "score", "found by")
    names = _names(why)
    edges = [
        (
            names.get(one.edge.src, one.edge.src),
            one.edge.type.value,
            names.get(one.edge.dst, one.edge.dst),
            f"{one.edge.weight:.3f}",
            f"{one.moved:+.3f}",
            f"{one.moved_here:+.3f}",
            f"{one.edge.success} / {one.edge.failure}",
        )
        for one in why.edges
    ]
    parts = [
        f'<p dir="auto"><b>{clean(why.question or "(forgotten)")}</b></p>',
        f'<p dir="auto" style="white-space: pre-wrap">{clean(why.answer or "(forgotten)")}</p>',
        table(("what", "value"), _about(why)),
    ]
    if rows or new:
        parts.append(table(heads, [*rows, *((*row, "") for row in new)]))
    if edges:
        parts.append(table(("from", "edge", "to", "weight now", "moved", "by this answer", "good / bad"), edges))
    return "".join(parts)


def _about(why: Why) -> list[tuple[str, str]]:
    """Return what is to be said of the answer as a whole, by name."""
    when = datetime.fromtimestamp(why.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = [("id", f"{why.id}, {when}" + (f", session {why.session}" if why.session else ""))]
    about.append(("state", why.answer_state + ("" if why.trust is None else f", trust {why.trust:.2f}")))
    route = why.route
    choice = f"{route.tier or route.model} by {route.decided_by}" + (f": {route.reason}" if route.reason else "")
    about.append(("route", choice))
    sure = "unknown" if why.confidence is None else f"{why.confidence:.2f}"
    judged = "" if why.quality is None else f", quality {why.quality:.2f} by {why.quality_source}"
    about.append(("confidence", f"{sure} ({why.finish_reason}){judged}"))
    about.append(("feedback", _feedback(why.feedback, why.correction) or _signal(why)))
    about.append(("in force", ", ".join(f"{name} version {number}" for name, number in why.versions.items())))
    return about


def _feedback(said: Feedback | None, correction: int | None) -> str:
    if said is None:
        return ""
    parts = [
        None if said.rating is None else f"rating {said.rating}",
        None if said.quality is None else f"quality {said.quality:.2f}",
        None if said.task_success is None else "task succeeded" if said.task_success else "task failed",
        f"{sum(said.marks.values())} of {len(said.marks)} marked sources helped" if said.marks else None,
        None if said.correction is None else f"corrected: {_line(said.correction)} (node {correction})",
    ]
    return f"{'; '.join(part for part in parts if part)}, by {said.rater}"


def _signal(why: Why) -> str:
    if why.signal is None:
        return "none"
    return {"rephrase": "none, but asked again at once", "abandon": "none, but given up after asking again"}[why.signal]


def _source_lines(source: WhySource) -> Iterable[str]:
    state = "" if source.state == "searched" else f" [{source.state}]"
    yield f"{'*' if source.was_used else ' '} {source.number} {source.title or source.source or source.node_id}{state}"
    if source.text:
        yield f"    {_line(source.text)}"
    mark = f", {_helped(source.helped)}" if source.helped is not None else ""
    yield f"    credit {source.credit:.2f} by {source.credit_by}{mark}, trust {source.trust:.2f}, {_rank(source)}"


def _rank(source: WhySource) -> str:
    if source.rank is None or source.hit is None:
        return "not found today"
    return f"rank {source.rank} today: {_found(source.hit)}"


def _found(hit: Hit) -> str:
    """Return a hit's score with the way that led to it."""
    if hit.explanation is None:
        return f"score {hit.score:.4f}"
    way = "".join(map(_step, hit.explanation.path))
    return f"score {hit.score:.4f}, {hit.explanation.reason}{f', then{way}' if way else ''}"


def _step(step: Step) -> str:
    arrow = f"-{step.type.value} {step.weight:.2f}->" if step.forward else f"<-{step.type.value} {step.weight:.2f}-"
    return f" {step.start} {arrow} {step.end}"


def _edge(one: WhyEdge, names: dict[int, str]) -> str:
    edge: Edge = one.edge
    ends = f"{names.get(edge.src, edge.src)} -{edge.type.value}-> {names.get(edge.dst, edge.dst)}"
    moved = f"moved {one.moved:+.3f}, {one.moved_here:+.3f} here" if one.moved or one.moved_here else "not moved"
    return f"{edge.weight:.3f} {ends}: {moved}"


def _names(why: Why) -> dict[int, str]:
    names = {source.node_id: f"source {source.number}" for source in why.sources}
    own = {"question": why.question_node, "answer": why.answer_node, "correction": why.correction}
    return names | {node: name for name, node in own.items() if node is not None}


def _node(hit: Hit) -> str:
    node = hit.node
    return f"{node.type.value} {node.id}" + (f" ({node.source})" if node.source else "")


def _helped(helped: bool | None) -> str:
    return "" if helped is None else "helped" if helped else "did not help"


def _line(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= WORDS else line[: WORDS - 1] + "…"
