"""`ruvllm export` and `ruvllm import` say which file it was."""

from __future__ import annotations

from pathlib import Path

from memory.fakes import WordEmbedder
from typer.testing import CliRunner

from ruvllm.cli.app import app
from ruvllm.memory import Memory


def test_a_file_with_brackets_keeps_its_name(tmp_path: Path) -> None:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        memory.insert_node("The sled is in hut three.")
    (tmp_path / "[b").mkdir()
    for name in ("x[red].jsonl", "[b/b].jsonl"):
        file = tmp_path / name
        done = CliRunner().invoke(app, ["export", str(file), "--brain", str(tmp_path / "brain")])
        assert done.exit_code == 0 and done.output.endswith(f"lines written to {file}\n")
        done = CliRunner().invoke(app, ["import", str(file), "--brain", str(tmp_path / file.stem)])
        assert done.exit_code == 0 and done.output.endswith(f"read from {file}\n")
