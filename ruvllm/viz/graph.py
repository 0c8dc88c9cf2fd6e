"""A part of the memory graph as one self-contained SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ruvllm.types import Edge, EdgeType, Neighbourhood, Node, NodeType
from ruvllm.viz.layout import place
from ruvllm.viz.svg import PALETTE, STYLE, checked_file, clean, clipped, text_width, write

__all__ = ["draw_graph", "label_of", "picture"]

NODE_LOOKS = {  # colour, corners (0: a circle), turn of the first corner in degrees
    NodeType.DOCUMENT: (PALETTE[0], 0, 0),
    NodeType.FACT: (PALETTE[2], 4, 45),
    NodeType.ANSWER: (PALETTE[1], 4, 0),
    NodeType.QUERY: (PALETTE[3], 3, -90),
    NodeType.CONCEPT: (PALETTE[4], 6, 0),
    NodeType.ENTITY: (PALETTE[6], 5, -90),
    NodeType.AGENT_STEP: (PALETTE[5], 3, 90),
}
EDGE_LOOKS = {  # colour, dashes ("": a line)
    EdgeType.CITES: ("#2f7ed8", ""),
    EdgeType.FOLLOWS: ("#7a8590", "6 3"),
    EdgeType.SAME_TOPIC: ("#1f9d6b", "2 3"),
    EdgeType.AGENT_STEP: ("#b59a00", "8 3 2 3"),
    EdgeType.DERIVED: ("#d9822b", "10 4"),
    EdgeType.CONTAINS: ("#8a63d2", ""),
    EdgeType.SHARED_NAME: ("#c2407a", "5 2 1 2"),
}
RADIUS, CENTRE_RADIUS = 8.0, 12.0
LABEL_WIDTH, LABEL_HEIGHT = 150.0, 15.0
MARGIN, HEAD, LEGEND_ROW, LEGEND_COLUMN = 28.0, 44.0, 20.0, 128.0
TOOLTIP_CHARS = 2000


def picture(graph: Neighbourhood, file: str | Path, *, seed: int = 0) -> Path:
    """Draw nodes and the edges among them into `file` and return its path.

    Raises:
        ValueError, OSError: `file` does not end in .svg, or cannot be written.
    """
    path = checked_file(file)
    return write(draw_graph(graph, seed=seed), path)


def label_of(node: Node) -> str:
    """Return what a node is called: its heading within its document, its title, its question, or its first words."""
    parts = (node.metadata.get(key) for key in ("title", "heading"))
    title = " > ".join(str(part) for part in parts if part)
    return " ".join((title or node.text).split())


def _mark_of(node: Node) -> str:
    """Return what stands below a node: its heading alone where title and heading have no room, else `label_of` it."""
    label, heading = label_of(node), node.metadata.get("heading")
    return " ".join(str(heading).split()) if heading and text_width(label) > LABEL_WIDTH else label


def draw_graph(graph: Neighbourhood, *, seed: int = 0) -> str:
    """Return the SVG text; the same for the same graph and seed."""
    labels = {node.id: clipped(_mark_of(node), LABEL_WIDTH) for node in graph.nodes}
    at = _places(graph, labels, seed)
    legend = _legend(graph)
    spread = np.array([*at.values(), (0.0, 0.0)])
    half_width = max(float(np.abs(spread[:, 0]).max()) + LABEL_WIDTH / 2 + MARGIN, 2 * LEGEND_COLUMN + MARGIN)
    columns = max(int((2 * half_width - 2 * MARGIN) // LEGEND_COLUMN), 1)
    rows = sum(math.ceil(len(group) / columns) for group in legend)
    top = float(spread[:, 1].min()) - MARGIN - HEAD
    bottom = float(spread[:, 1].max()) + MARGIN + LABEL_HEIGHT
    height = bottom - top + rows * LEGEND_ROW + MARGIN
    box = f"{-half_width:.0f} {top:.0f} {2 * half_width:.0f} {height:.0f}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{2 * half_width:.0f}" '
            f'height="{height:.0f}" role="img">',
            f"<title>{clean(_headline(graph))}</title>",
            f"<style>{STYLE}</style>",
            f"<defs>{''.join(map(_arrow_head, _types_of(graph.edges)))}</defs>",
            f'<rect class="paper" x="{-half_width:.0f}" y="{top:.0f}" width="{2 * half_width:.0f}" '
            f'height="{height:.0f}"/>',
            f'<text class="title" x="{-half_width + MARGIN:.0f}" y="{top + MARGIN:.0f}">'
            f"{clean(clipped(_headline(graph), 1.4 * half_width))}</text>",
            *_draw_edges(graph, at, labels),
            *(_draw_node(node, at[node.id], labels[node.id], graph.around) for node in graph.nodes),
            *_draw_legend(legend, -half_width + MARGIN, bottom + LEGEND_ROW, columns),
            "</svg>\n",
        ]
    )


def _headline(graph: Neighbourhood) -> str:
    counts = f"{len(graph.nodes)} nodes, {len(graph.edges)} edges"
    centre = next((node for node in graph.nodes if node.id == graph.around), None)
    if centre is not None:
        return f"Around {clipped(label_of(centre), 2 * LABEL_WIDTH)}: {counts}"
    return f"The most linked: {counts}" if graph.nodes else "Nothing is linked yet"


def _places(graph: Neighbourhood, labels: Mapping[int, str], seed: int) -> dict[int, tuple[float, float]]:
    """Return the middle of each node's mark; its label hangs below."""
    index = {node.id: i for i, node in enumerate(graph.nodes)}
    widths = [max(text_width(labels[node.id]), 2 * CENTRE_RADIUS) + 14.0 for node in graph.nodes]
    height = 2 * CENTRE_RADIUS + LABEL_HEIGHT + 8.0
    points = place(
        np.array([(width, height) for width in widths], np.float64).reshape(-1, 2),
        np.array([(index[edge.src], index[edge.dst]) for edge in graph.edges], np.int64).reshape(-1, 2),
        np.array([edge.weight for edge in graph.edges], np.float64),
        np.array([graph.hops.get(node.id, 1) for node in graph.nodes], np.int64),
        seed=seed,
    )
    return {node.id: (float(x), float(y)) for node, (x, y) in zip(graph.nodes, points, strict=True)}


def _types_of(edges: Iterable[Edge]) -> list[EdgeType]:
    kinds = {edge.type for edge in edges}
    return [kind for kind in EdgeType if kind in kinds]


def _arrow_head(kind: EdgeType) -> str:
    return (
        f'<marker id="arrow-{kind.value}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 Z" fill="{_edge_look(kind)[0]}"/>'
        "</marker>"
    )


def _edge_look(kind: EdgeType) -> tuple[str, str]:
    return EDGE_LOOKS.get(kind, ("#7a8590", ""))


def _draw_edges(
    graph: Neighbourhood, at: Mapping[int, tuple[float, float]], labels: Mapping[int, str]
) -> Iterable[str]:
    """Yield the edges; several between the same two nodes are bent apart."""
    between = Counter(frozenset((edge.src, edge.dst)) for edge in graph.edges)
    drawn: Counter[frozenset[int]] = Counter()
    for edge in graph.edges:
        pair = frozenset((edge.src, edge.dst))
        bend = (drawn[pair] - (between[pair] - 1) / 2) * 22.0 * (1 if edge.src < edge.dst else -1)
        drawn[pair] += 1
        colour, dashes = _edge_look(edge.type)
        ends = [CENTRE_RADIUS + 4.0 if end == graph.around else RADIUS + 3.0 for end in (edge.src, edge.dst)]
        told = (
            f"{labels[edge.src]} → {labels[edge.dst]}\n{edge.type.value}, weight {edge.weight:.2f}, by "
            f"{edge.created_by}, {edge.success} good and {edge.failure} bad outcomes"
        )
        way = _curve(at[edge.src], at[edge.dst], bend, *ends)
        yield (
            f'<path class="edge" d="{way}" fill="none" stroke="{colour}" stroke-width="{0.8 + 2.4 * edge.weight:.2f}" '
            f'stroke-opacity="{0.35 + 0.55 * edge.weight:.2f}" stroke-dasharray="{dashes or "none"}" '
            f'marker-end="url(#arrow-{edge.type.value})"><title>{clean(told)}</title></path>'
        )


def _curve(start: tuple[float, float], end: tuple[float, float], bend: float, gap: float, last_gap: float) -> str:
    """Return the path from mark to mark: a line, or a curve that passes `bend` pixels beside its middle."""
    a, b = np.array(start), np.array(end)
    way = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    middle = (a + b) / 2 + 2 * bend * np.array([-way[1], way[0]])
    first, last = _towards(a, middle, gap), _towards(b, middle, last_gap)
    return f"M{first[0]:.1f},{first[1]:.1f} Q{middle[0]:.1f},{middle[1]:.1f} {last[0]:.1f},{last[1]:.1f}"


def _towards(point: np.ndarray, other: np.ndarray, distance: float) -> np.ndarray:
    return np.asarray(point + (other - point) * distance / max(float(np.linalg.norm(other - point)), 1e-9))


def _draw_node(node: Node, at: tuple[float, float], label: str, around: int | None) -> str:
    x, y = at
    is_centre = node.id == around
    radius = CENTRE_RADIUS if is_centre else RADIUS
    width, below = text_width(label) + 4.0, y + radius + 4.0
    ring = f'<circle class="rim" cx="{x:.1f}" cy="{y:.1f}" r="{radius + 4:.1f}" fill="none" stroke-width="1.5"/>'
    return (
        f'<g class="node" opacity="{1.0 if node.trust >= 0.5 else 0.6}"><title>{clean(_told(node))}</title>'
        f"{ring if is_centre else ''}{_mark(node.type, x, y, radius)}"
        f'<rect class="paper" fill-opacity="0.8" x="{x - width / 2:.1f}" y="{below:.1f}" width="{width:.1f}" '
        f'height="{LABEL_HEIGHT}"/>'
        f'<text class="{"bold" if is_centre else "label"}" x="{x:.1f}" y="{below + 11:.1f}" text-anchor="middle">'
        f"{clean(label)}</text></g>"
    )


def _told(node: Node) -> str:
    """Return the tooltip of a node."""
    text = node.text if len(node.text) <= TOOLTIP_CHARS else node.text[: TOOLTIP_CHARS - 1] + "…"
    state = f"{node.type.value} {node.id}, trust {node.trust:.2f}, used {node.use_count} times"
    return "\n".join(part for part in (label_of(node), text, node.source, state) if part)


def _mark(kind: NodeType, x: float, y: float, radius: float) -> str:
    colour, corners, turn = NODE_LOOKS.get(kind, ("#7a8590", 0, 0))
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"/>'
    size = radius * (1.3 if corners == 3 else 1.15)  # as much area as a circle's, about
    angles = (math.radians(turn + 360.0 * i / corners) for i in range(corners))
    points = " ".join(f"{x + size * math.cos(angle):.1f},{y + size * math.sin(angle):.1f}" for angle in angles)
    return f'<polygon points="{points}" fill="{colour}"/>'


def _legend(graph: Neighbourhood) -> list[list[NodeType | EdgeType]]:
    """Return the node types and the edge types that occur."""
    kinds = {node.type for node in graph.nodes}
    groups: list[list[NodeType | EdgeType]] = [[kind for kind in NodeType if kind in kinds], [*_types_of(graph.edges)]]
    return groups


def _draw_legend(groups: Iterable[list[NodeType | EdgeType]], left: float, top: float, columns: int) -> Iterable[str]:
    """Yield the legend, node types first, each kind of thing from a new row on."""
    for group in groups:
        for i, kind in enumerate(group):
            x, y = left + i % columns * LEGEND_COLUMN, top + i // columns * LEGEND_ROW
            if isinstance(kind, NodeType):
                sample = _mark(kind, x + 12, y, 6.0)
            else:
                colour, dashes = _edge_look(kind)
                sample = (
                    f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + 26:.1f}" y2="{y:.1f}" stroke="{colour}" '
                    f'stroke-width="2" stroke-dasharray="{dashes or "none"}" marker-end="url(#arrow-{kind.value})"/>'
                )
            name = f'<text class="faint" x="{x + 34:.1f}" y="{y + 4:.1f}">{kind.value}</text>'
            yield f'<g class="legend">{sample}{name}</g>'
        top += math.ceil(len(group) / columns) * LEGEND_ROW
