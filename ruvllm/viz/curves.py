"""Learning curves as SVG: one line for each series, its interval shaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruvllm.viz.svg import PALETTE, checked_file, clean, clipped, framed, text_width, write

__all__ = ["CurvePoint", "curve", "curve_svg"]

WIDTH, HEIGHT = 720.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 72.0, 24.0, 48.0, 56.0
NAME_WIDTH, NAME_ROW = 220.0, 20.0
DASHES = ("none", "7 3", "2 3", "9 3 2 3")
TICKS = 6
EQUAL = 1e-9  # share by which values differ that are the same but for their rounding: between them lie no round numbers


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One measured value `y` at `x` on the line called `series`; `interval` is (low, high) around it."""

    series: str
    x: float
    y: float
    interval: tuple[float, float] | None = None


def curve(
    rows: Iterable[CurvePoint], file: str | Path, *, title: str = "", x_label: str = "", y_label: str = ""
) -> Path:
    """Draw one line for each series of `rows` into `file` and return its path.

    Raises:
        ValueError: there are no rows, one is not finite, or `file` does not end in .svg.
        OSError: `file` cannot be written.
    """
    svg = curve_svg(rows, title=title, x_label=x_label, y_label=y_label)
    return write(svg, checked_file(file))


def curve_svg(
    rows: Iterable[CurvePoint], *, title: str = "", x_label: str = "", y_label: str = "", y_holds: Sequence[float] = ()
) -> str:
    """Return the SVG text of the same picture.

    Args:
        y_holds: values that the y axis shows whatever the rows are.

    Raises:
        ValueError: there are no rows, or one is not finite.
    """
    points = sorted(rows, key=lambda point: point.x)
    if not points:
        raise ValueError("rows must not be empty")
    for point in points:
        if not all(map(math.isfinite, (point.x, point.y, *(point.interval or ())))):
            raise ValueError(f"rows must be finite ({point})")
    return _draw(points, title, x_label, y_label, y_holds)


def _draw(points: Sequence[CurvePoint], title: str, x_label: str, y_label: str, y_holds: Sequence[float]) -> str:
    names = sorted({point.series for point in points})
    x_ticks = _ticks([point.x for point in points])
    y_ticks = _ticks([*y_holds, *(value for point in points for value in (point.y, *(point.interval or ())))])
    names_width = min(max(text_width(name) for name in names), NAME_WIDTH) + 44.0
    right, bottom = WIDTH - RIGHT - names_width, HEIGHT - BOTTOM
    to_x, to_y = _scale(x_ticks, LEFT, right), _scale(y_ticks, bottom, TOP)
    height = max(HEIGHT, TOP + NAME_ROW * (len(names) + 1))
    lines = [
        line
        for i, name in enumerate(names)
        for line in _draw_series([point for point in points if point.series == name], i, to_x, to_y)
    ]
    elements = [
        *(_grid_line(LEFT, to_y(tick), right, to_y(tick)) for tick in y_ticks),
        *(_grid_line(to_x(tick), bottom, to_x(tick), bottom + 5) for tick in x_ticks),
        *(_text(to_x(tick), bottom + 20, f"{tick:g}", "middle") for tick in x_ticks),
        *(_text(LEFT - 8, to_y(tick) + 4, f"{tick:g}", "end") for tick in y_ticks),
        _text((LEFT + right) / 2, bottom + 42, x_label, "middle"),
        f'<text transform="translate(20 {(TOP + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f"{clean(y_label)}</text>",
        *lines,
        *(line for i, name in enumerate(names) for line in _draw_name(name, i, right + 16)),
    ]
    return framed(title, elements, width=WIDTH, height=height, margin=LEFT)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return about TICKS round numbers that hold all values between them."""
    low, high = min(values), max(values)
    if high - low <= EQUAL * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    raw = (high - low) / (TICKS - 1)
    exponent = math.floor(math.log10(raw))
    power = 10.0**exponent
    step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0, 20.0) if power * factor >= raw * 0.999)
    return [
        round(i * step, 2 - exponent) for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    ]


def _scale(ticks: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (end - start)


def _draw_series(
    points: Sequence[CurvePoint], number: int, to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> Iterable[str]:
    """Yield the shaded interval, the line and its points with their values."""
    colour, dashes = PALETTE[number % len(PALETTE)], _dashes(number)
    known = [(to_x(point.x), point.interval) for point in points if point.interval is not None]
    edges = [(x, to_y(interval[0])) for x, interval in known] + [(x, to_y(interval[1])) for x, interval in known[::-1]]
    if len(known) > 1:
        yield f'<polygon class="interval" points="{_joined(edges)}" fill="{colour}" fill-opacity="0.15"/>'
    line = _joined([(to_x(point.x), to_y(point.y)) for point in points])
    yield (
        f'<polyline class="series" points="{line}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dashes}"/>'
    )
    for point in points:
        interval = "" if point.interval is None else f" ({point.interval[0]:g} to {point.interval[1]:g})"
        yield (
            f'<circle cx="{to_x(point.x):.1f}" cy="{to_y(point.y):.1f}" r="3" fill="{colour}">'
            f"<title>{clean(f'{point.series}, {point.x:g}: {point.y:g}{interval}')}</title></circle>"
        )


def _draw_name(name: str, number: int, x: float) -> Iterable[str]:
    y = TOP + NAME_ROW * number + 4.0
    yield (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + 20:.1f}" y2="{y:.1f}" stroke="{PALETTE[number % len(PALETTE)]}" '
        f'stroke-width="2" stroke-dasharray="{_dashes(number)}"/>'
    )
    yield _text(x + 26, y + 4, clipped(name, NAME_WIDTH), "start")


def _dashes(number: int) -> str:
    return DASHES[number % len(DASHES)]


def _joined(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _grid_line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{clean(text)}</text>'
