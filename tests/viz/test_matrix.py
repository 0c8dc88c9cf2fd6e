"""A matrix shows every value once, in its row and column, inside the picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ruvllm.viz import matrix_svg, stacked

SVG = "{http://www.w3.org/2000/svg}"


def drawn(values: list[list[float]], rows: list[str], columns: list[str]) -> ET.Element:
    return ET.fromstring(matrix_svg(values, rows=rows, columns=columns, title="a & b", row_label="version"))


def test_every_value_has_a_cell_that_says_whose_it_is() -> None:
    root = drawn([[0.0, 0.5], [1.0, 0.25]], ["1", "2"], ["old", "new"])
    cells = [e for e in root.iter(f"{SVG}rect") if e.get("class") == "cell"]
    assert [cell[0].text for cell in cells] == ["1, old: 0.0%", "1, new: 50.0%", "2, old: 100.0%", "2, new: 25.0%"]
    shades = [float(cell.get("fill-opacity", "")) for cell in cells]
    assert shades[0] < shades[3] < shades[1] < shades[2]


@pytest.mark.parametrize("count", [1, 6, 20])
def test_cells_stay_inside_the_picture(count: int) -> None:
    root = drawn([[0.5] * count] * 6, [f"a very long name of a row {i}" * 3 for i in range(6)], ["span"] * count)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for cell in root.iter(f"{SVG}rect"):
        assert float(cell.get("x", 0)) + float(cell.get("width", "")) <= width
        assert float(cell.get("y", 0)) + float(cell.get("height", "")) <= height


def test_it_stands_below_other_pictures() -> None:
    one = matrix_svg([[0.5]], rows=["1"], columns=["all"])
    assert ET.fromstring(stacked([one, one])).get("height") == "296"


@pytest.mark.parametrize(
    ("values", "message"), [([], "at least one"), ([[0.5, 0.5]], "1 rows of 1|rows of"), ([[1.5]], r"\[0, 1\]")]
)
def test_what_is_no_matrix_of_shares_is_refused(values: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matrix_svg(values, rows=["1"], columns=["all"])
