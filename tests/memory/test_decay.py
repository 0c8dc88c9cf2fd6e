"""ruvllm/memory/decay.py: weights fade with disuse, the same however often they are brought up to date."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ruvllm.config import LearningConfig
from ruvllm.memory import Memory
from ruvllm.memory.decay import DAY_S, DecayReport, half_lives
from ruvllm.types import EdgeType

LIVES = {type_: seconds / DAY_S for type_, seconds in half_lives(LearningConfig()).items()}
FADING = sorted(LIVES)


@pytest.fixture
def nodes(memory: Memory) -> tuple[int, int]:
    return memory.insert_node("alpha"), memory.insert_node("beta")


def link(memory: Memory, nodes: tuple[int, int], type_: EdgeType = EdgeType.CITES, weight: float = 0.5) -> None:
    memory.insert_edge(*nodes, type_, weight)


def age(memory: Memory, days: float) -> None:
    """Let time pass: everything that has a time in it lies so much further back."""

    def work(connection: Any) -> None:
        for table, column in (("edges", "last_used"), ("edges", "decayed"), ("edge_moves", "at")):
            connection.execute(f"UPDATE {table} SET {column} = max({column} - ?, 0.0)", (days * DAY_S,))

    memory._store.write(work)
    memory._links.reload()


def weights(memory: Memory, node: int) -> list[float]:
    return [edge.weight for edge, _ in memory.neighbours(node)]


def stored(memory: Memory) -> list[float]:
    return [row[0] for row in memory._store.rows("SELECT weight FROM edges ORDER BY src, dst, type")]


def failed_often(memory: Memory, times: int) -> None:
    memory._store.write(lambda c: c.execute("UPDATE edges SET failure = ?", (times,)).fetchall())
    memory._links.reload()


def test_unused_edges_decay_over_time(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    age(memory, 30)
    assert memory.apply_decay() == DecayReport(decayed=1, pruned=0)
    assert stored(memory) == [pytest.approx(0.5 * 2 ** (-30 / 365), rel=1e-6)]


@pytest.mark.parametrize("type_", FADING)
def test_weight_halves_with_the_half_life_of_its_type(memory: Memory, nodes: tuple[int, int], type_: EdgeType) -> None:
    link(memory, nodes, type_, 0.8)
    age(memory, LIVES[type_])
    assert weights(memory, nodes[0]) == [pytest.approx(0.4, rel=1e-6)]


@pytest.mark.parametrize("type_", sorted(set(EdgeType) - set(FADING)))
def test_structure_never_fades_and_is_never_pruned(memory: Memory, nodes: tuple[int, int], type_: EdgeType) -> None:
    link(memory, nodes, type_, 0.01)
    age(memory, 10_000)
    failed_often(memory, 100)
    assert memory.apply_decay() == DecayReport(0, 0)
    assert weights(memory, nodes[0]) == [0.01]


def test_calling_often_or_seldom_gives_the_same_weights(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    for _ in range(30):
        age(memory, 10)
        memory.apply_decay()
    assert weights(memory, nodes[0]) == [pytest.approx(0.5 * 2 ** (-300 / 365), rel=1e-6)]


def test_reading_and_graph_see_the_same_before_and_after(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    age(memory, 100)
    graph = memory._links.load()
    seen = [weights(memory, nodes[0])[0], graph.edge(*nodes, 0, now=time.time()).weight]  # type: ignore[union-attr]
    memory.apply_decay()
    after = [weights(memory, nodes[0])[0], graph.edge(*nodes, 0, now=time.time()).weight]  # type: ignore[union-attr]
    assert [*seen, *after] == pytest.approx([0.5 * 2 ** (-100 / 365)] * 4, rel=1e-6)
    assert graph.edge(*nodes, 0).weight == pytest.approx(after[1], rel=1e-6)  # type: ignore[union-attr]


def test_graph_read_anew_goes_on_from_the_last_decay(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    age(memory, 100)
    memory.apply_decay()
    link(memory, nodes, EdgeType.SAME_TOPIC, 0.8)
    age(memory, 50)
    graph, now = memory._links.load(), time.time()
    cites, topic = graph.edge(*nodes, 0, now=now), graph.edge(*nodes, 2, now=now)
    assert cites is not None and cites.weight == pytest.approx(0.5 * 2 ** (-150 / 365), rel=1e-5)
    assert topic is not None and topic.weight == pytest.approx(0.8 * 2 ** (-50 / 180), rel=1e-5)


def test_graph_tells_apart_edges_of_a_pass_that_was_cut_short(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    link(memory, nodes[::-1])
    age(memory, 100)
    now = time.time()
    half = "UPDATE edges SET weight = weight * pow(2.0, -100.0 / 365), decayed = ? WHERE src = ?"
    memory._store.write(lambda c: c.execute(half, (now, nodes[0])).fetchall())
    graph = memory._links.load()
    both = [graph.edge(*ends, 0, now=now) for ends in (nodes, nodes[::-1])]
    assert [edge and edge.weight for edge in both] == pytest.approx([0.5 * 2 ** (-100 / 365)] * 2, rel=1e-5)
    memory.apply_decay()
    assert stored(memory) == pytest.approx([0.5 * 2 ** (-100 / 365)] * 2, rel=1e-6)


def test_search_follows_what_is_left_of_a_link(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes, weight=1.0)
    question = memory.get(nodes[0]).text
    fresh = {hit.node.id: hit.score for hit in memory.search(question)}[nodes[1]]
    age(memory, 3650)
    memory._links.reload()
    assert {hit.node.id: hit.score for hit in memory.search(question)}[nodes[1]] < fresh


@pytest.mark.parametrize(("failures", "least", "pruned"), [(4, 5, 0), (5, 5, 1), (5, 1 << 70, 0)])
def test_edge_is_pruned_only_past_a_minimum_of_interactions(
    memory: Memory, nodes: tuple[int, int], failures: int, least: int, pruned: int
) -> None:
    link(memory, nodes, weight=0.04)
    failed_often(memory, failures)
    graph = memory._links.load()
    assert memory.apply_decay(min_interactions=least).pruned == pruned
    assert len(weights(memory, nodes[0])) == graph.num_edges == 1 - pruned


def test_edge_is_pruned_only_below_the_floor(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes, weight=0.06)
    failed_often(memory, 100)
    assert memory.apply_decay(floor=0.05).pruned == 0
    assert memory.apply_decay(floor=0.07).pruned == 1


def test_rate_is_the_share_lost_per_day_of_every_edge(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    link(memory, nodes, EdgeType.FOLLOWS, 0.8)
    age(memory, 10)
    graph = memory._links.load()
    assert memory.apply_decay(0.1).decayed == 2
    assert stored(memory) == pytest.approx([0.5 * 0.9**10, 0.8 * 0.9**10], rel=1e-6)
    assert memory._links.load() is not graph


def test_rate_of_zero_keeps_all(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    age(memory, 100)
    assert memory.apply_decay(0.0).decayed == 0
    assert stored(memory) == [0.5]


@pytest.mark.parametrize("rate", [1e-300, 1e-305, 5e-324])
def test_rate_of_next_to_nothing_keeps_all(memory: Memory, nodes: tuple[int, int], rate: float) -> None:
    link(memory, nodes)
    age(memory, 100)
    memory.apply_decay(rate)
    assert stored(memory) == [0.5]


def test_what_an_outcome_did_fades_with_the_weight(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    memory.apply_outcome(nodes, 1.0, id="x")
    age(memory, 20)
    memory.apply_decay(0.05)
    age(memory, 20)
    memory.apply_outcome(nodes, 1.0, False, id="x")  # taken back
    assert stored(memory) == [pytest.approx(0.5 * 0.95**20 * 2 ** (-20 / 365), rel=1e-5)]


def test_clock_that_was_set_back_raises_nothing(memory: Memory, nodes: tuple[int, int]) -> None:
    link(memory, nodes)
    age(memory, -1000)
    assert memory.apply_decay().decayed == 0
    assert weights(memory, nodes[0]) == [0.5]


def test_large_brain_is_decayed_in_batches_whole(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.decay.BATCH_EDGES", 4)
    ids = [memory.insert_node(f"word{i}") for i in range(10)]
    for a in ids:
        for b in ids:
            if a != b:
                memory.insert_edge(a, b, EdgeType.CITES, 0.5)
    age(memory, 365)
    assert memory.apply_decay().decayed == 90
    assert stored(memory) == pytest.approx([0.25] * 90, rel=1e-6)


def test_outcomes_during_a_pass_count_the_same(
    memory: Memory, nodes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.memory.decay.BATCH_EDGES", 1)
    ids = [memory.insert_node(f"word{i}") for i in range(40)]
    for node in ids:
        memory.insert_edge(node, nodes[0], EdgeType.CITES, 0.5)
    age(memory, 365)
    writer = threading.Thread(target=lambda: [memory.apply_outcome((ids[-1], nodes[0]), 1.0) for _ in range(3)])
    writer.start()
    memory.apply_decay()
    writer.join()
    most = memory.config.learning.max_move_per_day
    assert weights(memory, ids[-1]) == [pytest.approx(0.25 + most, rel=1e-6)]


@pytest.mark.parametrize(
    "options",
    [{"rate": 1.0}, {"rate": -0.1}, {"rate": math.nan}, {"floor": 2.0}, {"floor": math.nan}, {"min_interactions": -1}],
)
def test_bad_value_names_the_argument(memory: Memory, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        memory.apply_decay(**options)


def test_reader_sees_what_is_left(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    nodes = memory.insert_node("alpha"), memory.insert_node("beta")
    link(memory, nodes)
    age(memory, 365)
    assert weights(open_memory(read_only=True), nodes[0]) == [pytest.approx(0.25, rel=1e-6)]
