"""Learning curves as PNG, drawn by matplotlib (extra `viz`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ruvllm.viz.curves import CurvePoint
from ruvllm.viz.svg import PALETTE

__all__ = ["can_draw_png", "curve_png"]

INCHES, DOTS_PER_INCH = (7.2, 4.0), 150


def can_draw_png() -> bool:
    """Return whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def curve_png(
    rows: Sequence[CurvePoint], file: str | Path, *, title: str = "", x_label: str = "", y_label: str = ""
) -> Path:
    """Draw what `curve` draws as PNG into `file` and return its path.

    Raises:
        ValueError: there are no rows.
        ImportError: matplotlib is missing.
        OSError: `file` cannot be written.
    """
    if not rows:
        raise ValueError("rows must not be empty")
    if not can_draw_png():
        raise ImportError("a PNG needs matplotlib: pip install 'ruvllm[viz]'", name="matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")  # without pyplot: no display is looked for
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    for colour, name in zip(PALETTE, sorted({point.series for point in rows}), strict=False):
        points = sorted((point for point in rows if point.series == name), key=lambda point: point.x)
        axes.plot([p.x for p in points], [p.y for p in points], marker="o", markersize=4, color=colour, label=name)
        known = [(p.x, *p.interval) for p in points if p.interval is not None]
        if known:
            xs, lows, highs = map(list, zip(*known, strict=True))
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.15)
    axes.grid(alpha=0.3)
    axes.legend()
    path = Path(file)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")
    return path
