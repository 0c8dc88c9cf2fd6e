"""ruvllm/bench/gates.py: a gate is met by what was measured, and by nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ruvllm.bench.forgetting import INTERACTIONS
from ruvllm.bench.gates import gates, read_results, run_tests, with_report
from ruvllm.bench.latency import LATENCY
from ruvllm.bench.quality import COVERAGE, F1, QUALITY
from ruvllm.bench.report import Row, make_report
from ruvllm.cli.app import app

BOUND = "95 % sure of a change above"


def row(name: str, value: float | None, met: bool | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "interval": None, "met": met} | fields


def quality(
    data: str, value: float = 0.9, coverage: float = 0.8, f1: float | None = 0.5, asked: int = 100
) -> list[dict[str, Any]]:
    rows = [row(f"questions of {data}, asked of m", asked), row(COVERAGE, coverage), row(F1, f1)]
    return [*rows, row(f"{QUALITY}, judged by j/1, j/1@2", value)]


def passing() -> dict[str, list[Any]]:
    return {
        "latency": [[row(f"{LATENCY} (m)", 400.0)]],
        "quality": [quality("locomo_qa.jsonl.gz"), quality("xquad_en.jsonl.gz")],
        "routers": [[row("router accuracy, the cheapest model that reaches 0.8", 92.0)]],
        "footprint": [[row("nodes", 1_000_000), row("edges", 5_000_000), row("resident", 3000.0, True)]],
        "soak": [[row("requests", 10_000), row("growth in 10,000 requests", 0.1, True)]],
        "forgetting": [[row(INTERACTIONS, 10_000), row(BOUND, -0.03, True)]],
    }


def ran(folder: Path, percent: float = 85.0, bad: str = "") -> Path:
    (folder / "coverage.json").write_text(json.dumps({"totals": {"percent_covered": percent}}))
    cases = f'<testcase classname="tests.integration.a" name="x">{bad}</testcase>' + (
        '<testcase classname="tests.integration.b" name="y"/><testcase classname="tests.memory.c"><failure/></testcase>'
    )
    (folder / "tests.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return folder


def met(results: dict[str, Any], folder: Path | None = None) -> dict[str, bool | None]:
    return {row.name.partition(",")[0].partition(":")[0]: row.met for row in gates(results, folder).rows}


def test_nothing_measured_is_nothing_met() -> None:
    rows = gates({}).rows
    assert len(rows) == 9 and all(row.met is None and math.isnan(row.value) for row in rows)


def test_all_gates_can_be_met(tmp_path: Path) -> None:
    assert all(row.met for row in gates(passing(), ran(tmp_path)).rows)


@pytest.mark.parametrize(
    ("bench", "rows"),
    [
        ("latency", [row(LATENCY, 501.0)]),
        ("routers", [row("router accuracy, the cheapest", 89.0), row("router accuracy, share of the best", 99.0)]),
        ("footprint", [row("nodes", 1_000_000), row("edges", 5_000_000), row("resident", 5000.0)]),
        ("footprint", [row("nodes", 1_000), row("edges", 5_000_000), row("resident", 5.0)]),
        ("footprint", [row("nodes", 1_000_000), row("edges", 0), row("resident", 5.0)]),
        ("soak", [row("requests", 10_000), row("growth in 10,000 requests", 5.0, False)]),
        ("soak", [row("requests", 100), row("growth in 10,000 requests", 0.0, True)]),
        ("soak", [row("requests", 10_000), row("growth in", 0.0, True), row("threads that came", 1, False)]),
        ("forgetting", [row(INTERACTIONS, 10_000), row(BOUND, -0.06, False)]),
        ("forgetting", [row(INTERACTIONS, 1), row(BOUND, 0.0, True)]),
        ("forgetting", [row(BOUND, 0.0, True)]),
    ],
)
def test_a_figure_beyond_its_target_or_too_small_a_run_is_no_pass(bench: str, rows: list[Any], tmp_path: Path) -> None:
    report = gates(passing() | {bench: [rows]}, ran(tmp_path))
    assert sum(not row.met for row in report.rows) == 1


@pytest.mark.parametrize("fields", [{"value": 0.7}, {"coverage": 0.6}, {"f1": None}, {"asked": 99}])
def test_quality_needs_coverage_and_gold_beside_it(fields: dict[str, Any]) -> None:
    found = met(passing() | {"quality": [quality("locomo.jsonl", **fields), quality("xquad.jsonl")]})
    assert (found["mean quality"], gates(passing()).rows[4].met) == (True, True)  # XQuAD, the later of one name
    report = gates(passing() | {"quality": [quality("locomo.jsonl", **fields), quality("xquad.jsonl")]})
    assert [row.met for row in report.rows if "LoCoMo" in row.name] == [False]


def test_every_judge_of_a_quality_is_named() -> None:
    assert gates(passing()).rows[3].name == "mean quality, LoCoMo, 100 asked of m, judged by j/1, j/1@2"


def test_quality_that_nobody_judged_is_not_measured() -> None:
    rows = [row("questions of locomo, asked of m", 9), row(COVERAGE, 1.0), row(F1, 1.0), row(QUALITY, None)]
    assert gates({"quality": [rows]}).rows[3].met is None


@pytest.mark.parametrize("bad", ["<failure/>", "<error/>", "<skipped/>"])
def test_an_integration_test_that_did_not_pass_shows(tmp_path: Path, bad: str) -> None:
    shown = gates({}, ran(tmp_path, bad=bad)).rows[1]
    assert (shown.value, shown.met) == (50.0, False)


def test_the_worst_of_several_runs_counts() -> None:
    several = [[row("router accuracy", value)] for value in (95.0, 80.0)]
    assert gates({"routers": several}).rows[5].value == 80.0


def test_saved_reports_are_read_and_fresh_ones_take_their_place(tmp_path: Path) -> None:
    old = {"bench": "latency", "rows": [row(LATENCY, 900.0)]}
    (tmp_path / "latency.json").write_text(json.dumps(old))
    (tmp_path / "coverage.json").write_text('{"totals": {"percent_covered": 81.0}}')
    results = read_results(tmp_path)
    assert gates(results).rows[2].met is False
    fresh = with_report(results, make_report("latency", [Row(LATENCY, 300.0, "ms")]))
    assert gates(fresh).rows[2].met is True


def test_a_report_with_an_unknown_figure_is_read_again(tmp_path: Path) -> None:
    fresh = with_report({}, make_report("latency", [Row(LATENCY, math.nan, "ms")]))
    assert gates(fresh).rows[2].met is None


def test_bad_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        read_results(tmp_path / "nowhere")
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ValueError, match=r"x\.json is not the output of a bench"):
        read_results(tmp_path)


def test_tests_that_hang_are_stopped(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_hang.py").write_text("import time\n\ndef test_it():\n    time.sleep(60)\n")
    with pytest.raises(TimeoutError, match="did not end within 1 s"):
        run_tests(tmp_path, tmp_path, timeout_s=1.0)
    with pytest.raises(ValueError, match="there are none"):
        run_tests(tmp_path / "tests", tmp_path, timeout_s=1.0)


def test_the_command_prints_the_table_and_fails(tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text(json.dumps({"bench": "latency", "rows": [row(LATENCY, 400.0)]}))
    done = CliRunner().invoke(app, ["bench", "gates", "--results", str(tmp_path)])
    assert done.exit_code == 1
    assert "not measured" in done.stdout and "latency p50" in done.stdout and " met" in done.stdout
