"""The table shows those columns that any row fills."""

from __future__ import annotations

import json

import pytest

from ruvllm.bench.report import Report, Row
from ruvllm.cli.bench_report import print_report

MACHINE = {"processor": "a processor", "cores": 2}


def shown(capsys: pytest.CaptureFixture[str], *rows: Row, as_json: bool = False) -> str:
    print_report(Report("kernels", MACHINE, "abc", rows), json=as_json)
    return capsys.readouterr().out


def test_a_row_with_peers_shows_them_with_ratio_floor_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("step [fast]", 2.5, "us", peers={"numpy": 1250.0, "torch": 28.0}, ratio=0.0893, floor=0.2, target=3.0)
    text = shown(capsys, row, Row("other", 1.0, "us", target=0.5, met=False))
    header, first, second, third, machine = text.splitlines()
    assert header.split() == ["name", "value", "unit", "peers", "ratio", "floor", "target"]
    assert first.split() == ["step", "[fast]", "2.500", "us", "numpy", "1,250", "0.089", "0.200", "3"]
    assert second.split() == ["torch", "28.000"]
    assert third.split() == ["other", "1.000", "us", "0.5", "missed"]
    assert machine == "a processor, 2 cores, commit abc"


def test_columns_that_no_row_fills_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    header, row, _ = shown(capsys, Row("gain", 0.5, "F1", interval=(0.4, 0.6), met=True)).splitlines()
    assert header.split() == ["name", "value", "unit", "95", "%", "interval"]
    assert row.split() == ["gain", "0.500", "F1", "0.400", "to", "0.600", "met"]


def test_long_names_are_not_broken_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a long name " * 20
    assert name.strip() in shown(capsys, Row(name, 1.0, "us"))


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(shown(capsys, Row("a", 1.0, "us"), as_json=True))["rows"][0]["name"] == "a"
