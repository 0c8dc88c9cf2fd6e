"""`ruvllm enrich`: what was read and linked, and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder
from typer.testing import CliRunner, Result

from ruvllm.cli.app import app
from ruvllm.memory import Memory

TEXTS = ["we found a copper kettle there", "my aunt bought some copper kettle once"]


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        memory.add(TEXTS)
    return tmp_path / "brain"


def run(brain: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["enrich", *arguments, "--brain", str(brain)])


def test_undo_takes_every_link_back(brain: Path) -> None:
    with Memory(brain, embedder=WordEmbedder()) as memory:
        memory.put_names(1, ["copper kettle"], "m", 1)
    assert run(brain, "--undo").output == "1 links removed\n"
    assert json.loads(run(brain, "--undo", "--json").output) == {"removed": 0}


@pytest.mark.real
def test_a_real_model_reads_what_there_is(brain: Path, smollm2_dir: Path) -> None:
    pytest.importorskip("llguidance", reason="the extra `constrained` is not installed")
    report = json.loads(run(brain, "--json").output)
    assert (report["model"], report["read"], report["left"], report["finished"]) == ("smollm2-135m", 2, 0, True)
    assert "smollm2-135m read 0 passages" in " ".join(run(brain).output.split())
