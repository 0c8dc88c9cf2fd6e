"""`ruvllm why`: from the store, in words or as JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder, interaction
from typer.testing import CliRunner

from ruvllm.cli.app import app
from ruvllm.memory import Memory
from ruvllm.types import Feedback


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path, embedder=WordEmbedder()) as memory:
        memory.add([{"text": "The sled is in hut three.", "source": "[bold]sled"}])
        memory.record(interaction("a1", query="Where is it?", source_ids=(1,), used_ids=(1,), created=time.time()))
        memory.feedback("a1", Feedback(rating=5, marks={1: True}))
    return tmp_path


def test_the_newest_answer_is_explained(brain: Path) -> None:
    done = CliRunner().invoke(app, ["why", "--brain", str(brain)])
    assert done.exit_code == 0
    for words in ("Where is it?", "rating 5", "by mark, helped", "[bold]sled", "by this answer's"):
        assert words in done.stdout


def test_json_is_one_object(brain: Path) -> None:
    done = CliRunner().invoke(app, ["why", "a1", "--brain", str(brain), "--json"])
    assert json.loads(done.stdout)["sources"][0]["helped"] is True


def test_an_unknown_answer_is_an_error(brain: Path) -> None:
    done = CliRunner().invoke(app, ["why", "nope", "--brain", str(brain)])
    assert isinstance(done.exception, ValueError) and "no answer 'nope'" in str(done.exception)


def test_a_quality_is_by_the_judge_that_is_named(brain: Path) -> None:
    with Memory(brain, embedder=WordEmbedder()) as memory:
        memory.record(interaction("a2", query="When?", quality=0.05, quality_source="signals/1"))
    done = CliRunner().invoke(app, ["why", "a2", "--brain", str(brain)])
    assert "quality 0.05 by signals/1\n" in done.stdout
