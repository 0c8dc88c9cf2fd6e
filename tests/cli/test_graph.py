"""`ruvllm graph` draws, and says what it drew."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory.fakes import WordEmbedder
from typer.testing import CliRunner

from ruvllm.cli.app import app
from ruvllm.memory import Memory
from ruvllm.types import EdgeType


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        first, second = memory.insert_node("alpha [b]one[/b]"), memory.insert_node("beta two")
        memory.insert_edge(first, second, EdgeType.CITES, 0.75)
    return tmp_path / "brain"


def graph(brain: Path, *arguments: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(app, ["graph", "--brain", str(brain), *arguments])
    return done.exit_code, done.output, done.exception


def test_a_node_is_drawn_and_told(brain: Path, tmp_path: Path) -> None:
    code, output, _ = graph(brain, "--around", "1", "--out", str(tmp_path / "g.svg"))
    assert code == 0 and "2 nodes: Fact 2\n1 edges: Cites 1\n" in output
    assert "0.75 Cites 1 alpha [b]one[/b] → 2 beta two" in output and (tmp_path / "g.svg").exists()


def test_without_a_node_the_most_linked_are_drawn(brain: Path, tmp_path: Path) -> None:
    code, output, _ = graph(brain, "-o", str(tmp_path / "g.svg"))
    assert code == 0 and "2 nodes" in output


def test_an_unknown_node_is_named(brain: Path, tmp_path: Path) -> None:
    _, _, error = graph(brain, "--around", "99", "-o", str(tmp_path / "g.svg"))
    assert str(error) == "around: there is no node 99"


def test_biases_of_edge_types_are_printed_and_drawn(brain: Path, tmp_path: Path) -> None:
    code, output, _ = graph(brain, "--biases", "-o", str(tmp_path / "b.svg"))
    assert code == 0 and "Cites" in output
    assert "Cites" in (tmp_path / "b.svg").read_text()
