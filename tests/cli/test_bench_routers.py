"""Options of the bench of routers reach it; the embedder and the router are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import rows
from bench.rows import means_router  # noqa: F401  a fixture
from memory.fakes import WordEmbedder
from typer.testing import CliRunner

from ruvllm.cli.app import app

pytest.importorskip("sklearn")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("ruvllm.bench.setup.open_embedder", lambda *_: WordEmbedder())
    return str(rows.write(tmp_path / "rows.jsonl", rows.planted(80)))


@pytest.mark.usefixtures("means_router")
def test_routers_prints_one_json_object(data: str) -> None:
    done = CliRunner().invoke(
        app, ["bench", "routers", data, "--weak", "small-1b", "--strong", "large-7b", "--seed", "1", "--json"]
    )
    report = json.loads(done.stdout)
    assert report["bench"] == "routers" and "quality of small-1b, weak" in {row["name"] for row in report["rows"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "other"], "no row has a score of 'other'"),
        (["--models", "small-1b"], "two models are the least"),
        (["--train", "rows.jsonl"], "train and test belong together"),
    ],
)
def test_a_mistake_is_named(data: str, options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["bench", "routers", data, *options])
    assert isinstance(done.exception, ValueError) and message in str(done.exception)
