"""Values with names as SVG: one bar each, to the right of a line at 0 or to its left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ruvllm.viz.svg import PALETTE, checked_file, clean, clipped, framed, text_width, write

__all__ = ["bars"]

MARGIN, TOP, ROW, BAR = 24.0, 48.0, 24.0, 14.0
MOST_NAME, HALF = 220.0, 180.0  # widths of a name and of the longest bar
VALUE = 56.0  # width of a written value


def bars(values: Mapping[str, float], file: str | Path, *, title: str = "") -> Path:
    """Draw one bar for each of `values`, in their order, into `file` and return its path.

    Raises:
        ValueError: there are no values, one is not finite, or `file` does not end in .svg.
        OSError: `file` cannot be written.
    """
    path = checked_file(file)
    if not values:
        raise ValueError("values must not be empty")
    if not all(map(math.isfinite, values.values())):
        raise ValueError(f"values must be finite ({dict(values)})")
    names = min(max(text_width(name) for name in values), MOST_NAME)
    zero, scale = MARGIN + names + VALUE + HALF, HALF / (max(map(abs, values.values())) or 1.0)
    bottom = TOP + ROW * len(values)
    lines = [f'<line class="rim" x1="{zero:g}" x2="{zero:g}" y1="{TOP:g}" y2="{bottom:g}"/>']
    for row, (name, value) in enumerate(values.items()):
        middle, length = TOP + ROW * (row + 0.5), abs(value) * scale
        start, colour = (zero, PALETTE[2]) if value >= 0.0 else (zero - length, PALETTE[1])
        anchor, at = ("start", zero + length + 6.0) if value >= 0.0 else ("end", zero - length - 6.0)
        lines += [
            f'<text x="{MARGIN:g}" y="{middle + 4:g}">{clean(clipped(name, names))}</text>',
            f'<rect x="{start:.1f}" y="{middle - BAR / 2:g}" width="{length:.1f}" height="{BAR:g}" fill="{colour}"/>',
            f'<text x="{at:.1f}" y="{middle + 4:g}" text-anchor="{anchor}">{value:+.4g}</text>',
        ]
    return write(framed(title, lines, width=zero + HALF + VALUE + MARGIN, height=bottom + MARGIN, margin=MARGIN), path)
