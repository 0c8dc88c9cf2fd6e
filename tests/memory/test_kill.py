"""kill -9 at any moment: the brain opens, passes its check, and holds all that was acknowledged."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm.memory import Memory
from ruvllm.types import EdgeType

from .fakes import WordEmbedder, cold

CHILD = Path(__file__).with_name("child.py")


def run_and_kill(brain: Path, documents: Path, start: int, after_lines: int) -> list[str]:
    """Return what a child said before it was killed, `after_lines` lines after opening or a little later."""
    command = [sys.executable, CHILD, "ingest", brain, documents, str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().strip() for _ in range(1 + after_lines)]
        child.kill()
        lines += child.stdout.read().split("\n")[:-1]  # a line without its end was cut off
    return [line for line in lines if line]


def cycle(brain: Path, documents: Path, number: int, rng: random.Random) -> None:
    acknowledged = run_and_kill(brain, documents, 1000 * number, rng.randrange(1, 60))
    assert acknowledged[0] == "open"
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert not memory.read_only
        report = memory.check(repair=True)
        assert [finding for finding in report.findings if finding.severity == "error"] == []
        assert memory.check().findings == ()
        memory.rehydrate(cold(memory))
        sources = {summary.source: summary.chunks for summary in memory.sources()}
        for kind, name in (line.split(" ", 1) for line in acknowledged[1:]):
            if kind == "document":
                assert sources.get(name, 0) == 4 or name.endswith("-0.md")  # those are forgotten
            elif kind == "forgotten":
                assert name not in sources
            elif kind == "trusted":
                trust = memory._store.rows("SELECT DISTINCT trust FROM nodes WHERE source = ?", (name,))
                assert trust == [(0.5,)]
            elif kind == "promoted":
                answer = memory.get(memory.interaction(name).answer_node or 0)
                assert (answer.on_probation, answer.trust) == (False, 0.7)
            elif kind == "edge":
                (edge, _), *_ = memory.neighbours(memory.find(name, 1)[0].id, EdgeType.CITES)
                assert edge.weight == pytest.approx(0.75, rel=1e-3)
            elif kind == "node":
                assert memory.get(int(name)).text.startswith("fact of round")
            else:
                feedback = memory.interaction(name).feedback
                assert feedback is not None and feedback.rating == 5
                routed = memory.routed(name)
                assert routed.decision is not None
                assert routed.outcomes[0].quality == 1.0 or name == "a0"  # of which the sources are forgotten
        assert memory.search("some words of a round", k=3)


@pytest.mark.integration
def test_kill_under_mixed_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(0)
    (tmp_path / "docs").mkdir()
    for number in range(3):
        cycle(tmp_path / "brain", tmp_path / "docs", number, rng)


@pytest.mark.slow
@pytest.mark.integration
def test_hundred_kills_under_mixed_load_lose_nothing_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(1)
    (tmp_path / "docs").mkdir()
    for number in range(100):
        cycle(tmp_path / "brain", tmp_path / "docs", number, rng)
