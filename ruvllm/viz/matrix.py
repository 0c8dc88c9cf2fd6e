"""A matrix of shares as SVG: one cell a value, the darker the larger, with the value in it."""

from __future__ import annotations

from collections.abc import Sequence

from ruvllm.viz.svg import PALETTE, clean, clipped, framed, text_width

__all__ = ["matrix_svg"]

WIDTH = 720.0
MARGIN, TOP, ROW = 24.0, 84.0, 40.0
NAME_WIDTH = 160.0
MAX_COLUMN = 96.0
FAINTEST = 0.08  # opacity of a share of 0, so that it is a square too


def matrix_svg(
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    row_label: str = "",
    column_label: str = "",
) -> str:
    """Return the SVG text of a matrix of shares in [0, 1], one row a name of `rows`.

    Raises:
        ValueError: there is no value, one is out of range, or the names are not as many.
    """
    if not rows or not columns or [len(row) for row in values] != [len(columns)] * len(rows):
        raise ValueError(f"values must be {len(rows)} rows of {len(columns)}, at least one of each")
    if not all(0.0 <= value <= 1.0 for row in values for value in row):
        raise ValueError("values must be in [0, 1]")
    left = MARGIN + min(max(map(text_width, (*rows, row_label))), NAME_WIDTH) + 16.0
    step = min((WIDTH - left - MARGIN) / len(columns), MAX_COLUMN)
    height = TOP + ROW * len(rows) + MARGIN
    lines = [_text(left, 50.0, column_label, "start"), _text(left - 12.0, TOP - 10.0, row_label, "end")]
    lines += [_text(left + step * (i + 0.5), TOP - 10.0, name, "middle", step) for i, name in enumerate(columns)]
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = TOP + ROW * i
        lines.append(_text(left - 12.0, y + ROW / 2 + 4.0, name, "end"))
        for j, value in enumerate(row):
            lines += _cell(left + step * j, y, step, value, f"{name}, {columns[j]}")
    return framed(title, lines, width=WIDTH, height=height, margin=MARGIN)


def _cell(x: float, y: float, width: float, value: float, name: str) -> list[str]:
    opacity = FAINTEST + (0.7 - FAINTEST) * value  # never so dark that the figure is lost on it
    return [
        f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{ROW - 2:.1f}" '
        f'fill="{PALETTE[0]}" fill-opacity="{opacity:.2f}"><title>{clean(name)}: {value:.1%}</title></rect>',
        _text(x + width / 2 - 1, y + ROW / 2 + 3, f"{value:.0%}", "middle"),
    ]


def _text(x: float, y: float, text: str, anchor: str, width: float = NAME_WIDTH) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{clean(clipped(text, width))}</text>'
