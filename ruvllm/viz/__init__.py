"""Pictures of what memory holds: graphs and curves as SVG, results as HTML tables. Values in, text out."""

from __future__ import annotations

from ruvllm.viz.bars import bars
from ruvllm.viz.curves import CurvePoint, curve, curve_svg
from ruvllm.viz.graph import draw_graph, label_of, picture
from ruvllm.viz.layout import place
from ruvllm.viz.matrix import matrix_svg
from ruvllm.viz.png import can_draw_png, curve_png
from ruvllm.viz.svg import stacked
from ruvllm.viz.tables import hits_html, node_html, report_html, response_html

__all__ = [
    "CurvePoint",
    "bars",
    "can_draw_png",
    "curve",
    "curve_png",
    "curve_svg",
    "draw_graph",
    "hits_html",
    "label_of",
    "matrix_svg",
    "node_html",
    "picture",
    "place",
    "report_html",
    "response_html",
    "stacked",
]
