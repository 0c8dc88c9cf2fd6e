"""Bars: each value's side, length and name, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from ruvllm.viz import bars

SVG = "{http://www.w3.org/2000/svg}"


def test_a_bar_lies_on_the_side_of_its_sign_and_is_as_long_as_its_value(tmp_path: Path) -> None:
    drawn = ElementTree.parse(bars({"Cites": 0.5, "Follows": -1.0, "Derived": 0.0}, tmp_path / "bars.svg"))
    zero = float(drawn.find(f"{SVG}line").attrib["x1"])  # type: ignore[union-attr]
    cites, follows, derived = (
        (float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in drawn.iter(f"{SVG}rect") if "fill" in bar.attrib
    )
    assert cites[0] == zero and follows[0] + follows[1] == pytest.approx(zero, abs=0.1)
    assert follows[1] == pytest.approx(2.0 * cites[1]) and derived[1] == 0.0


def test_names_and_values_are_written_and_safe(tmp_path: Path) -> None:
    text = bars({"<b> & co": 0.25}, tmp_path / "bars.svg", title="how ready").read_text()
    assert "&lt;b&gt; &amp; co" in text and "+0.25" in text and "how ready" in text


@pytest.mark.parametrize("values", [{}, {"Cites": float("nan")}])
def test_values_that_cannot_be_drawn_are_refused(tmp_path: Path, values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="values"):
        bars(values, tmp_path / "bars.svg")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file"):
        bars({"Cites": 1.0}, tmp_path / "bars.png")
