"""Options of the memory benches reach them; the embedder is made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder
from typer.testing import CliRunner

from ruvllm.cli.app import app

CORPUS = "".join(
    json.dumps({"pid": f"{i}", "title": f"Town {i}", "text": f"Town {i} is known for its bell number {i * 7}."}) + "\n"
    for i in range(12)
)
QUESTIONS = "".join(
    json.dumps({"id": i, "question": f"What is Town {i} known for?", "answer": "bells", "gold_pids": [f"{i}"]}) + "\n"
    for i in range(12)
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("ruvllm.bench.setup.open_embedder", lambda *_: WordEmbedder())
    corpus, questions = tmp_path / "c.jsonl", tmp_path / "q.jsonl"
    corpus.write_text(CORPUS)
    questions.write_text(QUESTIONS)
    return ["--corpus", str(corpus), "--questions", str(questions)]


def test_retrieval_prints_one_json_object(files: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", "retrieval", *files, "--limit", "8", "--orders", "1", "--json"])
    report = json.loads(done.stdout)
    assert report["bench"] == "retrieval"
    assert {"dense, recall@5", "search, p50"} <= {row["name"] for row in report["rows"]}


def test_learning_draws_its_curves(files: list[str], tmp_path: Path) -> None:
    plot = tmp_path / "curves.svg"
    done = CliRunner().invoke(app, ["bench", "learning", *files, "--orders", "1", "--plot", str(plot)])
    assert done.exit_code == 0 and plot.read_text().startswith("<svg")
    assert "(a) one rating per answer" in done.stdout


def test_the_cache_is_kept(files: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["bench", "attribution", *files, "--cache", str(tmp_path / "kept"), "--titles", "hidden"]
    )
    assert done.exit_code == 0 and (tmp_path / "kept" / "bench.db").exists()


def test_a_limit_of_one_is_refused(files: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "retrieval", *files, "--limit", "1"]).exit_code == 2
