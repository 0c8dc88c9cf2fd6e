"""`ruvllm sessions` lists and deletes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder, interaction
from typer.testing import CliRunner

from ruvllm.cli.app import app
from ruvllm.memory import Memory


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        for i, session in enumerate(("alice", "[b]ob", "alice")):
            memory.record(interaction(f"a{i}", session=session, created=1000.0 + i))
    return tmp_path / "brain"


def sessions(brain: Path, *arguments: str) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(app, ["sessions", *arguments, "--brain", str(brain)])
    return done.output, done.exception


def test_sessions_are_listed_newest_first(brain: Path) -> None:
    output, _ = sessions(brain, "list")
    assert [line.split("  ")[-1] for line in output.splitlines()] == ["alice", "[b]ob"]
    assert "2 turns" in output and "1 turn " in output


def test_sessions_as_json(brain: Path) -> None:
    output, _ = sessions(brain, "list", "--json")
    assert json.loads(output)[0] == {"name": "alice", "created": 1000.0, "last_used": 1002.0, "turns": 2}


def test_a_deleted_session_is_gone(brain: Path) -> None:
    assert sessions(brain, "delete", "alice")[0].endswith("nodes deleted\n")
    assert sessions(brain, "delete", "[b]ob")[1] is None
    assert sessions(brain, "list")[0] == "no sessions\n"


def test_an_unknown_session_is_named(brain: Path) -> None:
    assert str(sessions(brain, "delete", "nobody")[1]) == "name: there is no session 'nobody' here"
