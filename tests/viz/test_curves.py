"""A curve shows each series once, inside its axes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ruvllm import viz
from ruvllm.viz import CurvePoint, curve_svg
from ruvllm.viz.curves import _ticks

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    CurvePoint(series, x, base + x / 1000, (base + x / 1000 - 0.01, base + x / 1000 + 0.01))
    for series, base in (("rated <once>", 0.8), ("prior", 0.7))
    for x in (100, 0, 250)
]


def test_each_series_has_a_line_an_interval_and_a_name(tmp_path: Path) -> None:
    root = ET.parse(viz.curve(ROWS, tmp_path / "c.svg", title="t", x_label="ratings", y_label="recall@5")).getroot()
    assert [e.get("class") for e in root.iter() if e.get("class") in ("series", "interval")].count("series") == 2
    assert len([e for e in root.iter() if e.get("class") == "interval"]) == 2
    assert {"rated <once>", "prior", "t", "ratings", "recall@5"} <= {e.text for e in root.iter(f"{SVG}text")}


def test_points_are_joined_from_left_to_right(tmp_path: Path) -> None:
    root = ET.parse(viz.curve(ROWS, tmp_path / "c.svg")).getroot()
    for line in root.iter(f"{SVG}polyline"):
        across = [float(point.split(",")[0]) for point in (line.get("points") or "").split()]
        assert across == sorted(across) and len(set(across)) == 3


def test_greater_values_stand_higher(tmp_path: Path) -> None:
    root = ET.parse(viz.curve(ROWS, tmp_path / "c.svg")).getroot()
    prior, rated = (line.get("points", "").split() for line in root.iter(f"{SVG}polyline"))
    assert all(float(a.split(",")[1]) > float(b.split(",")[1]) for a, b in zip(prior, rated, strict=True))


@pytest.mark.parametrize(
    "values", [[0.0], [0.93, 0.987], [-3.0, 1e6], [5.0, 5.0], [1e-9, 3e-9], [0.3, 0.1 + 0.2], [1e-13, 3e-13]]
)
def test_ticks_are_few_and_hold_all_values(values: list[float]) -> None:
    ticks = _ticks(values)
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= min(values) and max(values) <= ticks[-1] and 2 <= len(ticks) <= 8


def test_a_series_without_intervals_is_a_line_alone(tmp_path: Path) -> None:
    root = ET.parse(viz.curve([CurvePoint("a", 0, 1), CurvePoint("a", 1, 2)], tmp_path / "c.svg")).getroot()
    assert not [e for e in root.iter() if e.get("class") == "interval"]


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows must not be empty"):
        viz.curve([], tmp_path / "c.svg")


@pytest.mark.parametrize("bad", [CurvePoint("a", math.nan, 1.0), CurvePoint("a", 0.0, 1.0, (0.0, math.inf))])
def test_a_row_that_is_not_finite_is_an_error(tmp_path: Path, bad: CurvePoint) -> None:
    with pytest.raises(ValueError, match="rows must be finite"):
        viz.curve([bad], tmp_path / "c.svg")


def test_an_axis_holds_what_it_is_told_to() -> None:
    root = ET.fromstring(curve_svg([CurvePoint("a", 0, 0.4), CurvePoint("a", 1, 0.5)], y_holds=(0.0, 1.0)))
    assert {"0", "1"} <= {e.text for e in root.iter(f"{SVG}text") if e.get("text-anchor") == "end"}
