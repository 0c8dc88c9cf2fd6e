"""The bench of the rollout, from the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from ruvllm.bench import rollout
from ruvllm.cli.app import app


def test_rollout_tells_errors_and_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "LONGEST", 1000)
    done = CliRunner().invoke(app, ["bench", "rollout", "--runs", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = {row["name"]: row["value"] for row in json.loads(done.stdout)["rows"]}
    assert 0.0 <= found["A/A, pairs, margin 0, graded: decided"] <= 1.0
    assert found["loss found in 2000 pairs, sd 0.25"] == pytest.approx(2.31, abs=0.01)
