"""Curves as SVG."""

from xml.etree import ElementTree

import pytest

from ruvllm.bench.plot import line_plot

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_each_curve_is_a_line_with_its_name() -> None:
    root = ElementTree.fromstring(
        line_plot({"a < b": [(0, 0.5), (10, 1.0)], "c": [(0, 0.5)]}, x_label="n", y_label="r")
    )
    lines = root.findall(f"{NAMESPACE}polyline")
    (x0, y0), (x1, y1) = (tuple(map(float, point.split(","))) for point in lines[0].attrib["points"].split())
    assert len(lines) == 2 and x0 < x1 and y0 > y1  # up is less
    assert "a < b" in [text.text for text in root.iter(f"{NAMESPACE}text")]


def test_nothing_cannot_be_plotted() -> None:
    with pytest.raises(ValueError, match="curves must hold a point"):
        line_plot({}, x_label="n", y_label="r")
