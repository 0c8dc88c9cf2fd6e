"""ruvllm/memory/outcomes.py: outcomes move edges by the rule, by credit, within bounds, and can be taken back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm import kernels
from ruvllm.config import LearningConfig, load_config
from ruvllm.memory import Memory
from ruvllm.memory.decay import DAY_S
from ruvllm.memory.links import EDGE_TYPE_CODES
from ruvllm.memory.outcomes import Moved, Outcome, apply_outcome, moved_weight
from ruvllm.types import Edge, EdgeType

from .fakes import PATIENT

CAP = LearningConfig().max_move_per_day
NUMBERS = count()


@pytest.fixture
def pair(memory: Memory) -> tuple[int, int]:
    """Two nodes with an edge of weight 0.5 that has not faded."""
    a, b = memory.insert_node("alpha"), memory.insert_node("beta")
    memory.insert_edge(a, b, EdgeType.CITES, 0.5)
    return a, b


def edge(memory: Memory, a: int, b: int) -> Edge:
    return next(edge for edge, _ in memory.neighbours(a, EdgeType.CITES) if {edge.src, edge.dst} == {a, b})


def weight(memory: Memory, pair: tuple[int, int]) -> float:
    return edge(memory, *pair).weight


def apply_at(memory: Memory, pair: tuple[int, int], now: float, outcome: Outcome, **options: Any) -> None:
    """Apply an outcome when the clock shows `now`."""
    name, credits = options.pop("id", f"at {now}"), dict.fromkeys(pair, 1.0)
    options = {"rater": "local", "config": memory.config.learning, "now": now} | options

    def work(connection: Any) -> Moved:
        return apply_outcome(connection, memory.namespace, name, outcome, credits, **options)

    memory._store.write(work, after=lambda moved: memory._links.reweighted(moved.edges))


def test_successful_interaction_strengthens_edges(memory: Memory, pair: tuple[int, int]) -> None:
    before = time.time()
    assert memory.apply_outcome(pair, 0.9, True) == 1
    after = edge(memory, *pair)
    assert after.weight == pytest.approx(0.5 + 2 * 0.1 * 0.4 * 0.5)
    assert (after.success, after.failure) == (1, 0)
    assert after.last_used >= before


def test_failed_interaction_weakens_edges(memory: Memory, pair: tuple[int, int]) -> None:
    assert memory.apply_outcome(pair, 0.3, False) == 1
    after = edge(memory, *pair)
    assert after.weight == pytest.approx(0.5 - 2 * 0.1 * 0.2 * 0.5)
    assert (after.success, after.failure) == (0, 1)


@pytest.mark.parametrize(("quality", "success"), [(0.9, False), (0.1, True)])
def test_outcome_that_contradicts_itself_moves_nothing(
    memory: Memory, pair: tuple[int, int], quality: float, success: bool
) -> None:
    assert memory.apply_outcome(pair, quality, success) == 0
    assert weight(memory, pair) == pytest.approx(0.5)


def test_outcome_survives_reopening(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    nodes = a, b = memory.insert_node("alpha"), memory.insert_node("beta")
    memory.insert_edge(a, b, EdgeType.CITES, 0.5)
    memory.apply_outcome(nodes, 1.0)
    memory.close()
    assert weight(open_memory(), nodes) == pytest.approx(0.55)


def test_edge_has_the_smaller_credit_of_its_ends(memory: Memory, pair: tuple[int, int]) -> None:
    memory.apply_outcome(pair, 1.0, credits={pair[1]: 0.5})
    assert weight(memory, pair) == pytest.approx(0.5 + 0.1 * 0.5 * 0.5)


def test_edge_of_a_node_without_credit_neither_moves_nor_counts(memory: Memory, pair: tuple[int, int]) -> None:
    assert memory.apply_outcome(pair, 1.0, credits={pair[0]: 0.0}) == 0
    assert edge(memory, *pair).success == 0


def test_edges_that_leave_the_set_stay(memory: Memory, pair: tuple[int, int]) -> None:
    other = memory.insert_node("gamma")
    memory.insert_edge(pair[0], other, EdgeType.CITES, 0.5)
    memory.apply_outcome(pair, 1.0)
    assert edge(memory, pair[0], other).weight == pytest.approx(0.5)


def test_graph_in_memory_moves_as_the_kernel_would(memory: Memory, pair: tuple[int, int]) -> None:
    now, code = time.time(), EDGE_TYPE_CODES["Cites"]
    twin = kernels.Graph.restore(memory._links.load().snapshot(), half_life_s=memory._links.load().half_life_s)
    twin.reinforce(np.array(pair), quality=0.8, now=now + 90 * DAY_S)
    apply_at(memory, pair, now + 90 * DAY_S, Outcome(0.8))
    moved, wanted = (graph.edge(*pair, code) for graph in (memory._links.load(), twin))
    assert moved is not None and wanted is not None
    assert moved == pytest.approx(wanted, rel=1e-6)


def test_same_outcome_under_one_id_counts_once(memory: Memory, pair: tuple[int, int]) -> None:
    for _ in range(3):
        memory.apply_outcome(pair, 1.0, id="job 7")
    assert weight(memory, pair) == pytest.approx(0.55)
    assert edge(memory, *pair).success == 1


def test_later_outcome_under_one_id_replaces_the_earlier_one(memory: Memory, pair: tuple[int, int]) -> None:
    now = time.time()
    apply_at(memory, pair, now + 10 * DAY_S, Outcome(1.0), id="x")
    apply_at(memory, pair, now + 100 * DAY_S, Outcome(0.0), id="x")
    stored = memory._store.value("SELECT weight FROM edges")
    assert stored == pytest.approx(0.9 * 0.5 * 2 ** (-100 / 365), rel=1e-6)
    assert (edge(memory, *pair).success, edge(memory, *pair).failure) == (0, 1)


def test_outcome_taken_back_leaves_what_others_did(memory: Memory, pair: tuple[int, int]) -> None:
    memory.apply_outcome(pair, 1.0, id="mine")
    memory.apply_outcome(pair, 1.0, id="yours", rater="you")
    memory.apply_outcome(pair, 1.0, False, id="mine")  # says nothing any more
    assert weight(memory, pair) == pytest.approx(0.5 + 0.1 * 0.45)


def test_new_weight_from_the_user_holds_no_part_of_an_outcome(memory: Memory, pair: tuple[int, int]) -> None:
    memory.apply_outcome(pair, 1.0, id="x")
    memory.insert_edge(*pair, EdgeType.CITES, 0.3)
    memory.apply_outcome(pair, 1.0, False, id="x")
    assert weight(memory, pair) == pytest.approx(0.3)


@pytest.mark.parametrize("quality", [0.0, 1.0])
def test_one_rater_moves_an_edge_only_so_far_a_day(memory: Memory, pair: tuple[int, int], quality: float) -> None:
    moved = [memory.apply_outcome(pair, quality, rater="mallory") for _ in range(20)]
    assert abs(weight(memory, pair) - 0.5) == pytest.approx(CAP)
    assert sum(moved) == edge(memory, *pair).success + edge(memory, *pair).failure < 20


def test_bound_is_for_each_rater_and_each_day(memory: Memory, pair: tuple[int, int]) -> None:
    noon = time.time() // DAY_S * DAY_S + DAY_S / 2
    for _ in range(2):
        for i in range(20):
            apply_at(memory, pair, noon, Outcome(1.0), rater="mallory", id=f"{noon} {i}")
        noon += DAY_S
    assert memory._store.value("SELECT weight FROM edges") == pytest.approx(0.5 + 2 * CAP, abs=0.01)
    apply_at(memory, pair, noon - DAY_S, Outcome(1.0), rater="alice")
    assert memory._store.value("SELECT weight FROM edges") > 0.5 + 2 * CAP


@settings(PATIENT, max_examples=40)
@given(said=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.4, 0.8, 1.0])), max_size=40))
def test_changing_ones_mind_is_no_way_around_the_bound(memory: Memory, said: list[tuple[str, float]]) -> None:
    a, b = nodes = memory.insert_node(f"word{next(NUMBERS)}"), memory.insert_node(f"word{next(NUMBERS)}")
    memory.insert_edge(a, b, EdgeType.CITES, 0.1)
    for id, quality in said:
        memory.apply_outcome(nodes, quality, rater="mallory", id=f"{a} {id}")
        assert abs(weight(memory, (a, b)) - 0.1) <= CAP + 1e-6
        assert 0.0 <= weight(memory, (a, b)) <= 1.0


def test_clock_that_was_set_back_raises_no_weight(memory: Memory, pair: tuple[int, int]) -> None:
    now = time.time()
    apply_at(memory, pair, now + 1000 * DAY_S, Outcome(1.0))
    ahead = memory._store.value("SELECT weight FROM edges")
    apply_at(memory, pair, now, Outcome(0.0))
    assert memory._store.value("SELECT weight FROM edges") == pytest.approx(0.9 * ahead)
    assert edge(memory, *pair).last_used == now


def test_ended_edges_do_not_move_but_what_moved_them_can_be_taken_back(memory: Memory, pair: tuple[int, int]) -> None:
    memory.apply_outcome(pair, 1.0, id="x")
    memory._store.write(lambda c: c.execute("UPDATE edges SET ended = 1.0").fetchall())
    assert memory.apply_outcome(pair, 1.0) == memory.apply_outcome(pair, 0.0, id="x") == 0
    assert memory._store.value("SELECT weight FROM edges") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": math.nan}, "quality"),
        ({"quality": 1.5}, "quality"),
        ({"nodes": []}, "two different nodes"),
        ({"nodes": [1, 1]}, "two different nodes"),
        ({"nodes": range(10**6)}, "at most 1000"),
        ({"nodes": [1, 99]}, "no node 99"),
        ({"credits": {1: 1.1}}, r"credits\[1\]"),
        ({"credits": {1: math.nan}}, r"credits\[1\]"),
        ({"credits": {7: 0.5}}, "7 is not among nodes"),
        ({"rater": " "}, "rater"),
        ({"id": ""}, "id"),
    ],
)
def test_bad_value_names_the_argument(
    memory: Memory, pair: tuple[int, int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        memory.apply_outcome(**{"nodes": pair, "quality": 1.0} | options)
    assert weight(memory, pair) == pytest.approx(0.5)


@pytest.mark.parametrize("options", [{"nodes": ["1", 2]}, {"nodes": [True, 2]}, {"success": 1}])
def test_value_of_a_wrong_type_is_refused(memory: Memory, pair: tuple[int, int], options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        memory.apply_outcome(**{"nodes": pair, "quality": 1.0} | options)


def test_archived_node_is_refused(memory: Memory, pair: tuple[int, int]) -> None:
    memory._store.write(lambda c: c.execute("UPDATE nodes SET tier = 'cold' WHERE id = ?", (pair[0],)).fetchall())
    with pytest.raises(ValueError, match=f"node {pair[0]} is archived"):
        memory.apply_outcome(pair, 1.0)


def test_two_namespaces_may_call_their_outcomes_the_same(open_memory: Callable[..., Memory]) -> None:
    pairs = {}
    for namespace, quality in (("one", 1.0), ("other", 0.0)):
        memory = open_memory(namespace=namespace)
        pairs[namespace] = memory.insert_nodes([f"alpha of {namespace}", f"beta of {namespace}"])
        memory.insert_edge(*pairs[namespace], EdgeType.CITES, 0.5)
        memory.apply_outcome(pairs[namespace], quality, id="task")
        memory.close()
    found = edge(open_memory(namespace="one"), *pairs["one"])
    assert found.success == 1 and found.weight > 0.5


def test_nodes_of_another_namespace_are_unknown(open_memory: Callable[..., Memory], brain: Any) -> None:
    first = open_memory()
    nodes = [first.insert_node("alpha"), first.insert_node("beta")]
    first.close()
    with pytest.raises(ValueError, match="no node"):
        open_memory(namespace="other").apply_outcome(nodes, 1.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_moved_weight_stays_in_range_and_moves_the_right_way(w: float, q: float, credit: float, eta: float) -> None:
    outcome = Outcome(q)
    moved = moved_weight(w, outcome, credit, eta=eta)
    assert -1e-15 <= moved <= 1.0 + 1e-15
    assert moved >= w - 1e-15 if outcome.is_good else moved <= w


def test_rule_follows_the_configuration(open_memory: Callable[..., Memory]) -> None:
    config = load_config(environment={}, overrides={"learning": {"eta": 0.5, "max_move_per_day": 0.3}})
    memory = open_memory(config=config)
    nodes = a, b = memory.insert_node("alpha"), memory.insert_node("beta")
    memory.insert_edge(a, b, EdgeType.CITES, 0.5)
    memory.apply_outcome(nodes, 1.0)
    memory.apply_outcome(nodes, 1.0)
    assert weight(memory, nodes) == pytest.approx(0.8)
