"""What nobody intends and everybody meets: circles, edges to oneself, ids of what is gone, a clock that is wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ruvllm.memory import Memory
from ruvllm.types import EdgeType

from .fakes import WordEmbedder

CHILD = Path(__file__).with_name("child.py")
DAY_S = 86_400.0


def set_clock(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let the clock be wrong by some days from now on."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + days * DAY_S)


def in_a_circle(memory: Memory) -> list[int]:
    nodes = memory.insert_nodes([f"polar station {word}" for word in ("alpha", "beta", "gamma")])
    for a, b in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        memory.insert_edge(a, b, EdgeType.CONTAINS, 0.9)
    return nodes


def test_what_contains_itself_in_a_circle_is_searched_drawn_and_checked(memory: Memory, tmp_path: Path) -> None:
    nodes = in_a_circle(memory)
    assert {hit.node.id for hit in memory.search("polar station", hops=4, explain=True)} == set(nodes)
    assert len(memory.search_with_concept_boost("polar station")) == 3
    assert set(memory.neighbourhood(nodes[0], hops=5).hops.values()) == {0, 1}
    assert memory.picture(tmp_path / "circle.svg", around=nodes[0], hops=5).exists()
    assert memory.apply_outcome(nodes, 1.0) == 3 and memory.check().ok


def test_what_contains_itself_in_a_circle_is_archived_and_brought_back(memory: Memory) -> None:
    nodes = in_a_circle(memory)
    assert memory.run_archival(max_age_days=0.0, min_use_count=9).archived == 3
    assert memory.rehydrate(nodes) == 3 and memory.check().ok
    assert len(memory.search("polar station", hops=4)) == 3


def test_concepts_that_contain_each_other_are_dissolved_together(memory: Memory) -> None:
    a, b = (memory.insert_node(f"concept {word}", type="Concept") for word in ("alpha", "beta"))  # type: ignore[arg-type]
    for src, dst in ((a, b), (b, a)):
        memory.insert_edge(src, dst, EdgeType.CONTAINS)
        memory.insert_edge(src, dst, EdgeType.DERIVED)
    assert memory.dissolve_concept(a) == 0
    assert memory.stats().nodes == 0 and memory.check().ok


def test_an_edge_to_itself_is_kept_and_moves_nothing(memory: Memory) -> None:
    a, b = memory.insert_nodes(["polar alpha", "polar beta"])
    before = [(hit.node.id, hit.score) for hit in memory.search("polar alpha")]
    memory.insert_edge(a, a, EdgeType.FOLLOWS, 1.0)
    assert [(hit.node.id, hit.score) for hit in memory.search("polar alpha")] == before
    assert [(edge.weight, node.id) for edge, node in memory.neighbours(a)] == [(1.0, a)]
    assert memory.apply_outcome([a, b], 0.0) == 0 and memory.check().ok


def test_an_outcome_of_what_was_deleted_is_refused_and_moves_nothing(memory: Memory) -> None:
    memory.add([{"text": "polar alpha", "source": "a"}, {"text": "polar beta", "source": "b"}])
    memory.insert_edge(1, 2, EdgeType.FOLLOWS, 0.5)
    c = memory.insert_node("polar gamma")
    memory.insert_edge(c, 2, EdgeType.FOLLOWS, 0.5)
    memory.forget("a")
    with pytest.raises(ValueError, match="nodes: there is no node 1"):
        memory.apply_outcome([1, 2, c], 1.0)
    assert [edge.weight for edge, _ in memory.neighbours(c, EdgeType.FOLLOWS)] == [0.5]


def test_an_edge_to_an_archived_node_is_in_the_graph_once_that_is_back(memory: Memory) -> None:
    far = memory.insert_node("quite another thing")
    memory.run_archival(max_age_days=0.0, min_use_count=9)
    near = memory.insert_node("polar station")
    memory.insert_edge(near, far, EdgeType.CITES, 0.9)
    assert [node.id for _, node in memory.neighbours(near)] == [far]
    assert memory.among([near, far])[1] == 0
    memory.rehydrate([far])
    assert memory.among([near, far])[1] > 0


def test_a_clock_that_is_set_ahead_fades_weights_as_if_the_time_had_passed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = memory.insert_nodes(["polar alpha", "polar beta"])
    memory.insert_edge(a, b, EdgeType.CITES, 0.8)
    with monkeypatch.context() as wrong:
        set_clock(wrong, 365)
        assert [edge.weight for edge, _ in memory.neighbours(a)] == pytest.approx([0.4], rel=1e-5)
    assert [edge.weight for edge, _ in memory.neighbours(a)] == pytest.approx([0.8], rel=1e-5)
    with monkeypatch.context() as wrong:
        set_clock(wrong, 365)
        memory.apply_decay()
    assert [edge.weight for edge, _ in memory.neighbours(a)] == pytest.approx([0.4], rel=1e-5)


def test_what_came_while_the_clock_was_ahead_is_found_but_not_in_the_past(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = memory.insert_node("polar station of old")
    with monkeypatch.context() as wrong:
        set_clock(wrong, 1000)
        new = memory.insert_node("polar station of tomorrow")
        memory.insert_edge(old, new, EdgeType.CITES)
    newest = memory.insert_node("polar station again")
    assert {hit.node.id for hit in memory.search("polar station")} == {old, new, newest}
    assert {hit.node.id for hit in memory.search("polar station", as_of=time.time())} == {old, newest}
    assert memory.apply_outcome([old, new], 1.0) == 1 and memory.check().ok


@pytest.mark.integration
def test_two_processes_that_read_the_same_files_in_at_once_store_one_copy(brain: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for i in range(20):
        (tmp_path / "docs" / f"{i}.md").write_text(f"# Note {i}\n\nThe lamp number {i} hangs in the hall.\n")
    command = [sys.executable, CHILD, "read", brain, tmp_path / "docs"]
    pipes = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        for _ in ("both are open", "both have tried"):
            said = [child.stdout.readline().strip() for child in (first, second)]
            for child in (first, second):
                print(file=child.stdin, flush=True)
    assert sorted(said) == ["added 20", "locked"]
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert memory.ingest(tmp_path / "docs").unchanged == len(memory.sources()) == memory.stats().nodes == 20
        assert memory.check().ok
