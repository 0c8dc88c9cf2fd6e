"""Options of the model benches reach them; what they measure is made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.cli.app import app


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each bench was called with."""
    calls: list[Any] = []

    def noted(*arguments: Any, **options: Any) -> Report:
        calls.append((*arguments, options))
        return make_report("speed", [Row("tiny", 1.0, "ms")])

    for name in ("decode", "embed", "perplexity"):
        monkeypatch.setattr(f"ruvllm.bench.{name}.run", noted)
    monkeypatch.setattr("ruvllm.inference.open.find_or_pull", lambda name, config, task: Path(f"{task}-{name}"))
    return calls


def test_decode_options_reach_the_bench(seen: list[Any], tmp_path: Path) -> None:
    options = [
        "--only",
        "sessions",
        "--threads",
        "3",
        "--rounds",
        "2",
        "--llama-python",
        "py",
        "--cache",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, ["bench", "decode", *options, "--json"])
    ((settings, only, _),) = seen
    assert json.loads(done.stdout)["rows"][0]["name"] == "tiny"
    assert (settings.num_threads, settings.rounds, settings.llama_python) == (3, 2, "py")
    assert (settings.cache, only) == (tmp_path, ["sessions"])


def test_embed_takes_every_core_unless_told(seen: list[Any]) -> None:
    assert CliRunner().invoke(app, ["bench", "embed"]).exit_code == 0
    ((model_dir, options),) = seen
    assert model_dir == Path("embed-minilm-l6")
    assert options["num_threads"] >= 1


def test_perplexity_options_reach_the_bench(seen: list[Any], tmp_path: Path) -> None:
    options = ["--text", str(tmp_path / "t"), "--windows", "3", "--window", "64"]
    assert CliRunner().invoke(app, ["bench", "perplexity", *options]).exit_code == 0
    ((text, model, _, given),) = seen
    assert (text, model, given["windows"], given["window"]) == (tmp_path / "t", "smollm2-135m", 3, 64)
