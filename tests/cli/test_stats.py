"""`ruvllm stats` shows what a store holds, in three forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from echo_brain import QUESTION, open_echo
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from ruvllm.cli.app import app


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with open_echo(tmp_path / "brain") as llm:
        llm.ask(QUESTION)
    return tmp_path / "brain"


def stats(brain: Path, *options: str) -> str:
    done = CliRunner().invoke(app, ["stats", "--brain", str(brain), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_stages_of_stored_requests_are_shown(brain: Path) -> None:
    lines = [line.split() for line in stats(brain).splitlines() if line.strip()]
    assert ["interactions", "1"] in lines
    generate = next(line for line in lines if line[0] == "generate")
    assert 0.0 < float(generate[1]) <= float(generate[2])


def test_json_has_the_quantiles(brain: Path) -> None:
    found = json.loads(stats(brain, "--json"))
    assert found["nodes_by_type"]["Document"] == 3
    assert found["stages_ms"]["retrieve"]["p50"] <= found["stages_ms"]["retrieve"]["p95"]


def test_prometheus_gets_sizes_and_recent_times_but_no_counters_of_requests(brain: Path) -> None:
    families = {f.name: f for f in text_string_to_metric_families(stats(brain, "--prometheus"))}
    assert {sample.labels["type"]: sample.value for sample in families["ruvllm_nodes"].samples}["Document"] == 3.0
    labels = [sample.labels for sample in families["ruvllm_recent_stage_seconds"].samples]
    assert {"stage": "generate", "quantile": "0.95"} in labels
    assert "ruvllm_requests" not in families


def test_two_forms_at_once_are_refused(brain: Path) -> None:
    done = CliRunner().invoke(app, ["stats", "--brain", str(brain), "--json", "--prometheus"])
    assert done.exit_code == 2 and "exclude each other" in done.output


def test_how_the_command_itself_opened_the_brain_is_not_shown(brain: Path) -> None:
    assert "read only" not in stats(brain)
    assert "read_only" not in stats(brain, "--json") + stats(brain, "--prometheus")
