"""The benches of a long-running process, from the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from ruvllm.bench import soak
from ruvllm.cli.app import app


def rows(*arguments: str) -> dict[str, float]:
    done = CliRunner().invoke(app, ["bench", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return {row["name"]: row["value"] for row in json.loads(done.stdout)["rows"]}


def test_soak_tells_what_came_and_stayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "DOCUMENTS", 20)
    found = rows("soak", "--requests", "100")
    assert found["requests"] == 100 and found["records that failed"] == 0


def test_footprint_tells_the_parts() -> None:
    found = rows("footprint", "--nodes", "100", "--edges", "200")
    assert found["nodes"] == 100 and 0 < found["vectors (float16)"] < found["resident"]
