"""A curve as PNG, where matplotlib is there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ruvllm import viz
from ruvllm.viz import CurvePoint

ROWS = [CurvePoint(series, x, y, (y - 0.1, y + 0.1)) for series, y in (("a", 0.5), ("b", 0.25)) for x in (1, 0)]


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows must not be empty"):
        viz.curve_png([], tmp_path / "c.png")


def test_missing_matplotlib_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not viz.can_draw_png()
    with pytest.raises(ImportError, match=r"pip install 'ruvllm\[viz\]'"):
        viz.curve_png(ROWS, tmp_path / "c.png")


def test_a_png_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = viz.curve_png(ROWS, tmp_path / "c.png", title="t", x_label="x", y_label="y")
    assert path.read_bytes().startswith(b"\x89PNG")
