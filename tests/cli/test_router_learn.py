"""`ruvllm router train | rollback | certify` on a brain with a log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder
from test_brain_router import filled
from typer.testing import CliRunner, Result

from ruvllm.cli.app import app
from ruvllm.memory import Memory

CONFIG = """
[models]
tiers = ["small", "large"]
[generation]
model = "small"
[router]
max_labels_per_day = 1000
quality_floor = 0.6
risk = 0.2
"""


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    path = tmp_path / "brain"
    with Memory(path, embedder=WordEmbedder()) as memory:
        filled(memory, calibrating=120)
    (path / "ruvllm.toml").write_text(CONFIG)
    return path


def run(brain: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["router", *arguments, "--brain", str(brain)])


def test_train_certify_and_roll_back(brain: Path) -> None:
    trained = run(brain, "train")
    assert trained.exit_code == 0 and "the new router is in force" in trained.output
    certified = run(brain, "certify", "--json")
    assert json.loads(certified.output)["certified"] is True
    assert "no router is in force" in run(brain, "rollback").output


def test_train_as_json(brain: Path) -> None:
    report = json.loads(run(brain, "train", "--json").output)
    assert report["accepted"] is True and report["turns"] > 240


def test_certify_says_why_not(brain: Path) -> None:
    run(brain, "train")
    (brain / "ruvllm.toml").write_text(CONFIG.replace("risk = 0.2", "risk = 0.001"))
    done = run(brain, "certify")
    assert done.exit_code == 1 and "too few" in done.output


def test_one_model_needs_no_router(tmp_path: Path) -> None:
    Memory(tmp_path / "b", embedder=WordEmbedder()).close()
    assert "models.tiers must name at least two" in str(run(tmp_path / "b", "train").exception)
