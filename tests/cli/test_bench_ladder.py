"""Options of the router's benches reach them; what they measure is made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.cli.app import app


def test_ladder_options_reach_the_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def noted(*arguments: Any, **options: Any) -> Report:
        calls.append((*arguments, options))
        return make_report("ladder", [Row("xquad, accuracy", 0.5, "fraction")])

    monkeypatch.setattr("ruvllm.bench.ladder.run", noted)
    options = ["--models", "a", "-m", "b", "--data", "q.jsonl", "--data", "p.jsonl", "--out", str(tmp_path / "l")]
    done = CliRunner().invoke(app, ["bench", "ladder", *options, "--n", "5", "--seed", "2", "--threads", "1", "--json"])
    ((data, models, out, given),) = calls
    assert json.loads(done.stdout)["rows"][0]["value"] == 0.5
    assert (data, models, out) == ([Path("q.jsonl"), Path("p.jsonl")], ["a", "b"], tmp_path / "l")
    assert (given["n"], given["seed"], given["num_threads"]) == (5, 2, 1)


def test_a_ladder_of_one_tier_is_refused_in_words(tmp_path: Path) -> None:
    options = ["--models", "a", "--data", "q.jsonl", "--out", str(tmp_path / "l.jsonl.gz")]
    done = CliRunner().invoke(app, ["bench", "ladder", *options])
    assert done.exit_code != 0
    assert "models must be two or more" in str(done.exception)
