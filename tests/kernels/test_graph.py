"""The graph: what each call answers, and what it refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ruvllm.kernels import EdgeValues, Graph, Subgraph

I, B, F, C = np.int64, np.uint8, np.float32, np.uint16  # noqa: E741
NUM_TYPES = 3


def graph_of(
    *edges: tuple[int, int, int, float],
    nodes: tuple[int, ...] = (),
    epoch: float = 0.0,
    half_life_s: float | np.ndarray = np.inf,
) -> Graph:
    """A graph with these (src, dst, type, weight) edges, all last used at its epoch."""
    graph = Graph(num_types=NUM_TYPES, epoch=epoch, half_life_s=half_life_s)
    ids = sorted({id for edge in edges for id in edge[:2]} | set(nodes))
    graph.add_nodes(np.array(ids, I))
    if edges:
        src, dst, types, weights = zip(*edges, strict=True)
        used = np.zeros(len(edges), F)
        graph.add_edges(np.array(src, I), np.array(dst, I), np.array(types, B), np.array(weights, F), used)
    return graph


def row(subgraph: Subgraph, id: int) -> list[tuple[int, int, int]]:
    """(neighbour id, type, direction) of each entry of a node."""
    i = subgraph.ids.tolist().index(id)
    entries = slice(subgraph.indptr[i], subgraph.indptr[i + 1])
    neighbours = subgraph.ids[subgraph.indices[entries]].tolist()
    return list(zip(neighbours, subgraph.types[entries].tolist(), subgraph.directions[entries].tolist(), strict=True))


def chain(length: int) -> Graph:
    return graph_of(*[(i, i + 1, 0, 0.5) for i in range(length)])


def test_graph_expansion_respects_hop_limit() -> None:
    for hops in range(6):
        subgraph = chain(9).expand(np.array([2], I), hops=hops)
        assert dict(zip(subgraph.ids.tolist(), subgraph.hops.tolist(), strict=True)) == {
            id: abs(id - 2) for id in range(10) if abs(id - 2) <= hops
        }


def test_edge_weight_update() -> None:
    graph = graph_of((1, 2, 0, 0.5), (2, 1, 1, 0.5), (2, 3, 0, 0.5), epoch=1000.0)
    nodes = np.array([1, 2], I)
    assert graph.reinforce(nodes, quality=0.9, success=True, now=1060.0) == 2
    assert graph.edge(1, 2, 0) == pytest.approx((0.54, 60.0, 1, 0))  # a = 2 * 0.1 * 0.4
    assert graph.edge(2, 1, 1) == pytest.approx((0.54, 60.0, 1, 0))
    assert graph.edge(2, 3, 0) == (0.5, 0.0, 0, 0)
    assert graph.reinforce(nodes, quality=0.3, success=False, credit=0.5, now=1090.0) == 2
    assert graph.edge(1, 2, 0) == pytest.approx((0.54 * 0.98, 90.0, 1, 1))  # a = 2 * 0.1 * 0.2 * 0.5


@pytest.mark.parametrize(("quality", "moved"), [(1.0, 0.1 + 0.1 * 0.9), (0.0, 0.1 - 0.1 * 0.1)])
def test_an_edge_is_moved_from_what_idle_time_left_of_it(quality: float, moved: float) -> None:
    nodes = np.array([1, 2], I)
    idle = graph_of((1, 2, 0, 0.8), epoch=1000.0, half_life_s=10.0)
    idle.reinforce(nodes, quality=quality, now=1030.0)
    assert idle.edge(1, 2, 0) == pytest.approx((moved, 30.0, int(quality), 1 - int(quality)))
    assert idle.edge(1, 2, 0, now=1040.0) == pytest.approx((moved / 2, 30.0, int(quality), 1 - int(quality)))
    swept = graph_of((1, 2, 0, 0.8), epoch=1000.0, half_life_s=10.0)
    for now in (1010.0, 1030.0):
        swept.decay(now)
    swept.reinforce(nodes, quality=quality, now=1030.0)
    assert swept.edge(1, 2, 0) == pytest.approx(idle.edge(1, 2, 0))


def test_moving_an_edge_at_an_earlier_time_takes_nothing_off() -> None:
    graph = graph_of((1, 2, 0, 0.5), epoch=1000.0, half_life_s=10.0)
    graph.reinforce(np.array([1, 2], I), quality=0.5, now=900.0)  # the clock was set back
    edge = graph.edge(1, 2, 0)
    assert edge is not None and edge.weight == 0.5


def test_reading_with_a_time_gives_what_decay_would_leave() -> None:
    half_lives = np.array([10.0, 1000.0, np.inf], F)
    edges = [(0, i, i % 3, i / 40) for i in range(1, 41)]
    lazy, swept = (graph_of(*edges, epoch=1000.0, half_life_s=half_lives) for _ in range(2))
    for graph in (lazy, swept):
        graph.decay(1005.0)
    before = lazy.snapshot()
    swept.decay(1030.0)
    expected = {dst: swept.edge(src, dst, type) for src, dst, type, _ in edges}
    assert {dst: lazy.edge(src, dst, type, now=1030.0) for src, dst, type, _ in edges} == expected
    weights = {dst: edge.weight for dst, edge in expected.items() if edge is not None}
    around = lazy.expand(np.array([0], I), fan_out=40, direction="out", now=1030.0)
    assert dict(zip(around.ids[around.indices].tolist(), around.weights.tolist(), strict=True)) == weights
    near = lazy.neighbours(0, now=1030.0)
    assert dict(zip(near.ids.tolist(), near.weights.tolist(), strict=True)) == weights
    assert lazy.snapshot() == before


def test_what_is_followed_and_its_order_go_by_stored_weights() -> None:
    graph = graph_of((1, 2, 0, 0.8), (1, 3, 1, 0.5), half_life_s=np.array([1.0, np.inf, 1.0], F))
    found = graph.neighbours(1, now=2.0)
    assert found.ids.tolist() == [2, 3]
    np.testing.assert_allclose(found.weights, [0.2, 0.5], rtol=1e-6)
    assert graph.neighbours(1).weights.tolist() == [F(0.8), 0.5]
    heaviest = graph.expand(np.array([1], I), fan_out=1, min_weight=0.6, direction="out", now=2.0)
    assert heaviest.ids.tolist() == [1, 2]
    np.testing.assert_allclose(heaviest.weights, [0.2], rtol=1e-6)


@pytest.mark.parametrize(("quality", "success"), [(0.9, False), (0.1, True)])
def test_an_outcome_that_contradicts_itself_moves_nothing(quality: float, success: bool) -> None:
    graph = graph_of((1, 2, 0, 0.5))
    assert graph.reinforce(np.array([1, 2], I), quality=quality, success=success, now=9.0) == 0
    assert graph.edge(1, 2, 0) == (0.5, 0.0, 0, 0)


def test_an_outcome_without_a_task_counts_by_its_quality() -> None:
    graph = graph_of((1, 2, 0, 0.5))
    graph.reinforce(np.array([1, 2], I), quality=1.0, now=0.0)
    graph.reinforce(np.array([1, 2], I), quality=0.0, now=0.0)
    assert graph.edge(1, 2, 0) == pytest.approx((0.55 * 0.9, 0.0, 1, 1))


def test_counts_stay_at_their_maximum() -> None:
    graph = graph_of((1, 2, 0, 0.5))
    full = np.array([65535], C)
    graph.update_edges(np.array([1], I), np.array([2], I), np.array([0], B), successes=full, failures=full)
    for quality in (1.0, 0.0):
        graph.reinforce(np.array([1, 2], I), quality=quality, now=0.0)
    edge = graph.edge(1, 2, 0)
    assert edge is not None and (edge.successes, edge.failures) == (65535, 65535)


def test_weights_stay_within_their_range() -> None:
    graph = graph_of((1, 2, 0, 0.5))
    for quality, limit in ((1.0, 1.0), (0.0, 0.0)):
        for _ in range(300):
            graph.reinforce(np.array([1, 2], I), quality=quality, eta=1.0, now=0.0)
        edge = graph.edge(1, 2, 0)
        assert edge is not None and edge.weight == limit


def test_an_edge_is_its_source_target_and_type() -> None:
    graph = graph_of((1, 2, 0, 0.1), (1, 2, 1, 0.2), (2, 1, 0, 0.3))
    assert graph.num_edges == 3
    assert graph.edge(1, 2, 1) == EdgeValues(F(0.2), 0.0, 0, 0)
    assert graph.edge(2, 1, 1) is None
    assert graph.edge(1, 9, 0) is None


def test_a_known_edge_keeps_its_history_and_takes_the_new_weight() -> None:
    graph = graph_of((1, 2, 0, 0.5))
    graph.reinforce(np.array([1, 2], I), quality=1.0, now=7.0)
    again = (np.array([1], I), np.array([2], I), np.array([0], B), np.array([0.25], F))
    assert graph.add_edges(*again, np.array([8.0], F)) == 0
    assert graph.edge(1, 2, 0) == (0.25, 8.0, 1, 0)
    graph.add_edges(*again, np.array([9.0], F), failures=np.array([4], C))
    assert graph.edge(1, 2, 0) == (0.25, 9.0, 1, 4)


def test_an_edge_named_twice_takes_the_later_values() -> None:
    graph = graph_of((1, 2, 0, 0.9), (2, 3, 0, 0.7), (1, 2, 0, 0.125))
    assert graph.num_edges == 2
    assert graph.edge(1, 2, 0) == (0.125, 0.0, 0, 0)


def test_known_nodes_are_passed_over() -> None:
    graph = Graph(num_types=1)
    assert graph.add_nodes(np.array([5, -3, 5], I)) == 2
    assert graph.add_nodes(np.array([-3, 2**62], I)) == 1
    assert sorted(graph.node_ids().tolist()) == [-3, 5, 2**62]
    assert graph.has_nodes(np.array([5, 6], I)).tolist() == [True, False]
    assert -3 in graph and 4 not in graph


def test_a_removed_node_takes_its_edges_along() -> None:
    graph = graph_of((1, 2, 0, 0.5), (2, 3, 0, 0.5), (3, 1, 0, 0.5), (3, 2, 1, 0.5))
    graph.remove_nodes(np.array([2, 2], I))
    assert (graph.num_nodes, graph.num_edges) == (2, 1)
    assert graph.neighbours(3).ids.tolist() == [1]
    graph.add_nodes(np.array([2], I))
    assert graph.neighbours(2).ids.tolist() == []


def test_neighbours_come_heaviest_first_with_ties_in_order() -> None:
    graph = graph_of((1, 5, 0, 0.5), (1, 4, 2, 0.5), (4, 1, 0, 0.5), (1, 4, 1, 0.5), (1, 3, 0, 0.25), (2, 1, 0, 0.75))
    found = graph.neighbours(1)
    assert found.ids.tolist() == [2, 4, 4, 4, 5, 3]
    assert found.types.tolist() == [0, 1, 2, 0, 0, 0]
    assert found.directions.tolist() == [1, 0, 0, 1, 0, 0]
    assert found.weights.tolist() == [0.75, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_neighbours_are_filtered_by_type_and_direction() -> None:
    graph = graph_of((1, 2, 0, 0.5), (1, 3, 1, 0.5), (4, 1, 1, 0.5))
    assert graph.neighbours(1, types=[1]).ids.tolist() == [3, 4]
    assert graph.neighbours(1, direction="out").ids.tolist() == [2, 3]
    assert graph.neighbours(1, direction="in", types={1}).ids.tolist() == [4]
    assert graph.neighbours(1, types=[]).ids.tolist() == []


def test_a_subgraph_holds_each_edge_from_both_ends() -> None:
    subgraph = graph_of((1, 2, 0, 0.5), (3, 1, 1, 0.25)).expand(np.array([1], I))
    assert subgraph.ids.tolist() == [1, 2, 3]
    assert row(subgraph, 1) == [(2, 0, 0), (3, 1, 1)]
    assert row(subgraph, 2) == [(1, 0, 1)]
    assert row(subgraph, 3) == [(1, 1, 0)]
    assert subgraph.weights.tolist() == [0.5, 0.25, 0.5, 0.25]


def test_edges_between_nodes_of_the_last_hop_are_there() -> None:
    subgraph = graph_of((1, 2, 0, 0.5), (1, 3, 0, 0.5), (3, 2, 0, 0.5)).expand(np.array([1], I), hops=1)
    assert (2, 0, 0) in row(subgraph, 3)


def test_a_direction_gives_each_edge_once() -> None:
    graph = graph_of((1, 2, 0, 0.5), (2, 3, 0, 0.5))
    outgoing, incoming = (graph.expand(np.array([2], I), direction=d) for d in ("out", "in"))  # type: ignore[arg-type]
    assert outgoing.ids.tolist() == [2, 3] and row(outgoing, 2) == [(3, 0, 0)] and row(outgoing, 3) == []
    assert incoming.ids.tolist() == [2, 1] and row(incoming, 2) == [(1, 0, 1)] and row(incoming, 1) == []


def test_the_heaviest_edges_are_followed() -> None:
    graph = graph_of(*[(0, i, 0, i / 10) for i in range(1, 10)])
    assert graph.expand(np.array([0], I), fan_out=3).ids.tolist() == [0, 9, 8, 7]


def test_the_node_cap_drops_what_comes_later() -> None:
    graph = graph_of((1, 2, 0, 0.9), (1, 3, 0, 0.8), (2, 4, 0, 1.0))
    assert graph.expand(np.array([1], I), max_nodes=3).ids.tolist() == [1, 2, 3]
    assert graph.expand(np.array([4, 3, 2], I), max_nodes=2).ids.tolist() == [4, 3]


def test_light_edges_and_other_types_do_not_exist_for_an_expansion() -> None:
    graph = graph_of((1, 2, 0, 0.2), (1, 3, 0, 0.6), (3, 2, 1, 0.6), (3, 4, 0, 0.6))
    assert graph.expand(np.array([1], I), min_weight=0.5, types=[0]).ids.tolist() == [1, 3, 4]
    assert graph.expand(np.array([1], I), min_weight=0.5, hops=2).indices.size == 6


def test_seeds_come_first_once_each_and_unknown_ones_are_passed_over() -> None:
    subgraph = chain(5).expand(np.array([3, 99, 0, 3], I), hops=0)
    assert subgraph.ids.tolist() == [3, 0]
    assert subgraph.hops.tolist() == [0, 0]


@pytest.mark.parametrize("limits", [{"hops": 2}, {"hops": 3, "max_nodes": 7}, {"hops": 2, "fan_out": 1}])
def test_what_is_reached_is_what_an_expansion_finds(limits: dict[str, int]) -> None:
    graph, seeds = graph_of(*[(i, (i * i + 3) % 40, 0, i / 40) for i in range(40) if i != (i * i + 3) % 40]), [5, 99, 8]
    ids, hops = graph.reach(np.array(seeds, I), **limits)
    expanded = graph.expand(np.array(seeds, I), **limits)
    assert (ids.tolist(), hops.tolist()) == (expanded.ids.tolist(), expanded.hops.tolist())


def test_nodes_keep_their_order_and_unknown_ones_have_no_edges() -> None:
    subgraph = graph_of((1, 2, 0, 0.5), (3, 1, 1, 0.25), (3, 4, 0, 1.0)).among(np.array([3, 99, 2, 1, 98], I))
    assert subgraph.ids.tolist() == [3, 99, 2, 1, 98]
    assert [row(subgraph, id) for id in (3, 99, 98)] == [[(1, 1, 0)], [], []]
    assert row(subgraph, 2) == [(1, 0, 1)]
    assert row(subgraph, 1) == [(3, 1, 1), (2, 0, 0)]
    assert not subgraph.hops.any()


def test_weights_among_nodes_are_those_of_the_time_asked_for() -> None:
    graph = graph_of((1, 2, 0, 0.5), half_life_s=10.0)
    assert graph.among(np.array([1, 2], I), now=10.0).weights.tolist() == [0.25, 0.25]


def test_a_node_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ids must differ \(ids\[2\] = 1\)"):
        chain(3).among(np.array([1, 2, 1], I))


@pytest.mark.parametrize("seeds", [[], [77]])
def test_nothing_to_start_from_gives_an_empty_subgraph(seeds: list[int]) -> None:
    subgraph = chain(3).expand(np.array(seeds, I))
    assert subgraph.ids.size == subgraph.indices.size == subgraph.weights.size == 0
    assert subgraph.indptr.tolist() == [0]


def test_a_subgraph_has_the_dtypes_that_attention_takes() -> None:
    s = chain(3).expand(np.array([0], I))
    assert [a.dtype for a in (s.ids, s.hops, s.indptr, s.indices)] == [I, np.int32, I, np.int32]
    assert [a.dtype for a in (s.types, s.weights, s.last_used, s.successes, s.failures, s.directions)] == [
        B,
        F,
        F,
        C,
        C,
        B,
    ]


def test_edge_features_say_what_an_edge_is() -> None:
    graph = graph_of((1, 2, 2, 0.75), epoch=100.0, half_life_s=20.0)
    one = (np.array([1], I), np.array([2], I), np.array([2], B))
    graph.update_edges(*one, last_used=np.array([50.0], F), successes=np.array([3], C), failures=np.array([1], C))
    subgraph = graph.expand(np.array([1], I))
    features = graph.edge_features(subgraph, now=170.0)
    expected = [0, 0, 1, 0.75, 0.5, 4 / 6, np.log(5)]
    np.testing.assert_allclose(features, [[*expected, 0], [*expected, 1]], rtol=1e-6)


def test_a_hub_is_expanded_to_its_heaviest_edges_and_keeps_its_edges_among_the_chosen() -> None:
    spokes = 100_000
    graph = Graph(num_types=2)
    graph.add_nodes(np.arange(spokes + 1, dtype=I))
    weights = np.random.default_rng(0).permutation(spokes).astype(F) / spokes
    outer, hub = np.arange(1, spokes + 1, dtype=I), np.zeros(spokes, I)
    graph.add_edges(hub, outer, np.zeros(spokes, B), weights, np.zeros(spokes, F))
    graph.add_edges(outer, hub, np.ones(spokes, B), weights, np.zeros(spokes, F))
    subgraph = graph.expand(np.array([0], I), hops=1, fan_out=20)
    assert subgraph.ids[1:].tolist() == (1 + np.argsort(-weights)[:10]).tolist()
    assert len(row(subgraph, 0)) == 20
    assert graph.reinforce(subgraph.ids, quality=1.0, now=0.0) == 20
    graph.remove_nodes(outer[::2].copy())
    assert graph.num_edges == spokes
    assert graph.edge(0, 2, 0) is not None and graph.edge(2, 0, 1) is not None


HUB_CHANGES: dict[str, Callable[[Graph], object]] = {
    "a new edge": lambda graph: graph.add_edges(*map(np.array, ([0], [201])), *one_edge(1.0)),
    "a new incoming edge": lambda graph: graph.add_edges(*map(np.array, ([201], [0])), *one_edge(1.0)),
    "a known edge": lambda graph: graph.add_edges(*map(np.array, ([0], [6])), *one_edge(1.0)),
    "a weight": lambda graph: graph.update_edges(np.array([0]), np.array([6]), np.zeros(1, B), weights=np.ones(1, F)),
    "a removed edge": lambda graph: graph.remove_edges(np.array([0]), np.array([200]), np.zeros(1, B)),
    "a removed node": lambda graph: graph.remove_nodes(np.array([200])),
    "an outcome": lambda graph: graph.reinforce(np.array([0, 6]), quality=1.0, now=1.0, eta=1.0),
    "decay": lambda graph: graph.decay(100.0),
}


def one_edge(weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(1, B), np.array([weight], F), np.zeros(1, F)


@pytest.mark.parametrize("change", HUB_CHANGES.values(), ids=list(HUB_CHANGES))
def test_a_hub_is_followed_along_what_is_heaviest_now(change: Callable[[Graph], object]) -> None:
    spokes = [(0, i, i % 2, i / 400) for i in range(1, 201)]
    half_life_s = np.array([10.0, np.inf, np.inf], F)
    hub, asked_before = (graph_of(*spokes, nodes=(201,), half_life_s=half_life_s) for _ in range(2))
    before, _ = asked_before.reach(np.array([0], I), hops=1, fan_out=8)
    for graph in (hub, asked_before):
        change(graph)
    after, _ = asked_before.reach(np.array([0], I), hops=1, fan_out=8)
    assert after.tolist() == hub.reach(np.array([0], I), hops=1, fan_out=8)[0].tolist() != before.tolist()


def test_a_hub_is_followed_as_far_as_is_asked() -> None:
    graph = graph_of(*[(0, i, 0, i / 400) for i in range(1, 201)])
    for fan_out in (8, 3, 16):
        ids, _ = graph.reach(np.array([0], I), hops=1, fan_out=fan_out)
        assert ids.tolist() == [0, *range(200, 200 - fan_out, -1)]


def test_a_hub_keeps_its_parallel_edges_of_every_type() -> None:
    spokes = 3000  # so many that they are looked for among the incoming edges of the others
    graph = Graph(num_types=NUM_TYPES)
    graph.add_nodes(np.arange(spokes + 1, dtype=I))
    for type in range(NUM_TYPES):
        outer, types = np.arange(1, spokes + 1, dtype=I), np.full(spokes, type, B)
        graph.add_edges(np.zeros(spokes, I), outer, types, np.full(spokes, 0.5, F), np.zeros(spokes, F))
    subgraph = graph.expand(np.array([0, 1, 2], I), hops=0)
    assert row(subgraph, 0) == [(id, type, 0) for id in (1, 2) for type in range(NUM_TYPES)]
    assert row(subgraph, 1) == row(subgraph, 2) == [(0, type, 1) for type in range(NUM_TYPES)]
    assert graph.reinforce(np.array([0, 1, 2], I), quality=1.0, now=0.0) == 2 * NUM_TYPES


def test_decay_is_permanent_and_counts_from_the_last_one() -> None:
    half_lives = np.array([10.0, np.inf, 1.0], F)
    graph = graph_of((1, 2, 0, 0.8), (1, 3, 1, 0.8), epoch=1000.0, half_life_s=half_lives)
    assert graph.decayed_at is None
    assert graph.decay(1010.0) == 0
    assert graph.edge(1, 2, 0) == pytest.approx((0.4, 0, 0, 0))
    graph.decay(1010.0)
    graph.decay(1005.0)  # the clock was set back
    assert graph.edge(1, 2, 0) == pytest.approx((0.4, 0, 0, 0))
    assert graph.edge(1, 3, 1) == pytest.approx((0.8, 0, 0, 0))
    assert graph.decayed_at == 1010.0
    graph.decay(1020.0)
    assert graph.edge(1, 2, 0) == pytest.approx((0.2, 0, 0, 0))


def test_reading_what_a_writer_holds_leaves_other_threads_running() -> None:
    edges, rng, graph = 500_000, np.random.default_rng(0), Graph(num_types=1)
    graph.add_nodes(np.arange(edges, dtype=I))
    src = rng.integers(0, edges, edges)
    columns = (src, (src + 1) % edges, np.zeros(edges, B), np.full(edges, 0.5, F), np.zeros(edges, F))
    ticks, waits, is_done = [0], [], threading.Event()

    def tick() -> None:
        while not is_done.wait(0.0005):
            ticks[0] += 1

    writer, clock = threading.Thread(target=graph.add_edges, args=columns), threading.Thread(target=tick)
    clock.start()
    writer.start()
    while writer.is_alive():
        before, started = ticks[0], time.monotonic()
        _ = graph.decayed_at
        waits.append((time.monotonic() - started, ticks[0] - before))
    is_done.set()
    clock.join()
    longest, ticked = max(waits)
    assert ticked > 3 or longest < 0.02  # one tick may fall before the wait and one after it


def test_only_weak_edges_with_enough_interactions_are_pruned() -> None:
    graph = graph_of((1, 2, 0, 0.1), (1, 3, 0, 0.1), (2, 3, 0, 0.9))
    keys = (np.array([1], I), np.array([2], I), np.array([0], B))
    graph.update_edges(*keys, successes=np.array([2], C), failures=np.array([1], C))
    assert graph.decay(0.0, floor=0.5, min_interactions=4) == 0
    assert graph.decay(0.0, floor=0.5, min_interactions=3) == 1
    assert graph.edge(1, 2, 0) is None
    assert graph.num_edges == 2


def test_graphs_can_be_made_where_their_weights_were_decayed_before() -> None:
    graph = Graph(num_types=1, decayed_at=100.0, half_life_s=10.0)
    graph.add_nodes(np.array([1, 2], I))
    graph.add_edges(*ONE)
    graph.decay(110.0)
    assert graph.edge(1, 2, 0) == pytest.approx((0.25, 0, 0, 0))


def test_a_bulk_load_keeps_within_32_bytes_an_edge() -> None:
    nodes, edges = 20_000, 200_000
    rng = np.random.default_rng(0)
    graph = Graph(num_types=2)
    graph.add_nodes(np.arange(nodes, dtype=I))
    src, step = rng.integers(0, nodes, edges), rng.integers(1, nodes, edges)
    graph.add_edges(src, (src + step) % nodes, np.zeros(edges, B), np.full(edges, 0.5, F), np.zeros(edges, F))
    assert graph.nbytes / graph.num_edges <= 32


def test_memory_stays_bounded_while_edges_come_and_go() -> None:
    nodes, rng = 500, np.random.default_rng(0)
    graph = Graph(num_types=1)
    graph.add_nodes(np.arange(nodes, dtype=I))
    for _ in range(300):
        src, step = rng.integers(0, nodes, 100), rng.integers(1, nodes, 100)
        graph.add_edges(src, (src + step) % nodes, np.zeros(100, B), rng.random(100, dtype=F), np.zeros(100, F))
        graph.decay(0.0, floor=0.6)
    assert graph.nbytes < 100 * graph.num_edges


ONE = (np.array([1], I), np.array([2], I), np.array([0], B), np.array([0.5], F), np.array([0.0], F))


def changed(place: int, array: object) -> tuple[object, ...]:
    return (*ONE[:place], array, *ONE[place + 1 :])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (changed(0, [1]), TypeError, r"src must be a numpy array \(list\)"),
        (changed(0, np.array([1], np.int32)), ValueError, r"src must have dtype int64 \(int32\)"),
        (changed(0, np.array([[1]], I)), ValueError, r"src must have 1 dimensions \(2\)"),
        (changed(0, np.array([9], I)), ValueError, r"src\[0\] must be a known node \(9\)"),
        (changed(1, np.array([9], I)), ValueError, r"dst\[0\] must be a known node \(9\)"),
        (changed(1, np.array([1], I)), ValueError, r"dst\[0\] must differ from src \(1\)"),
        (changed(1, np.array([1, 2], I)), ValueError, r"dst must have 1 entries \(2\)"),
        (changed(2, np.array([3], B)), ValueError, r"types\[0\] must be in \[0, 3\) \(3\)"),
        (changed(2, np.array([0], I)), ValueError, r"types must have dtype uint8 \(int64\)"),
        (changed(3, np.array([np.nan], F)), ValueError, r"weights\[0\] must be in \[0.0, 1.0\] \(nan\)"),
        (changed(3, np.array([1.5], F)), ValueError, r"weights\[0\] must be in \[0.0, 1.0\] \(1.5\)"),
        (changed(3, np.array([-0.5], F)), ValueError, r"weights\[0\] must be in"),
        (changed(3, np.array([0.5])), ValueError, r"weights must have dtype float32"),
        (changed(3, None), TypeError, "weights must be a numpy array"),
        (changed(4, None), TypeError, "last_used must be a numpy array"),
    ],
)
def test_bad_edges_are_refused_by_name_and_change_nothing(
    arguments: tuple[np.ndarray, ...], error: type[Exception], says: str
) -> None:
    graph = graph_of((2, 3, 0, 0.5), nodes=(1,))
    before = graph.snapshot()
    with pytest.raises(error, match=says):
        graph.add_edges(*arguments)
    assert graph.snapshot() == before


def test_a_bad_edge_at_the_end_of_a_batch_leaves_the_others_out() -> None:
    graph = graph_of(nodes=(1, 2, 3))
    with pytest.raises(ValueError, match=r"dst\[1\] must be a known node \(4\)"):
        graph.add_edges(np.array([1, 2], I), np.array([2, 4], I), np.zeros(2, B), np.ones(2, F), np.zeros(2, F))
    assert graph.num_edges == 0


@pytest.mark.parametrize("time", [np.nan, np.inf, 1e19])
def test_times_are_finite(time: float) -> None:
    graph = graph_of((1, 2, 0, 0.5))
    with pytest.raises(ValueError, match=r"last_used\[0\] must be in"):
        graph.add_edges(*ONE[:4], np.array([time], F))
    for call in (
        lambda: graph.reinforce(np.array([1], I), quality=1.0, now=time),
        lambda: graph.decay(time),
        lambda: graph.edge(1, 2, 0, now=time),
        lambda: graph.neighbours(1, now=time),
        lambda: graph.expand(np.array([1], I), now=time),
    ):
        with pytest.raises(ValueError, match="now must be finite"):
            call()
    assert graph.edge(1, 2, 0) == (0.5, 0.0, 0, 0)


def test_unknown_edges_and_nodes_are_refused_and_change_nothing() -> None:
    graph = graph_of((1, 2, 0, 0.5), (2, 3, 1, 0.5))
    before = graph.snapshot()
    keys = (np.array([1, 2], I), np.array([2, 3], I), np.array([0, 0], B))
    with pytest.raises(ValueError, match=r"src\[1\], dst, types must name a known edge \(2, 3, 0\)"):
        graph.remove_edges(*keys)
    with pytest.raises(ValueError, match=r"src\[1\], dst, types must name a known edge"):
        graph.update_edges(*keys, weights=np.ones(2, F))
    with pytest.raises(ValueError, match=r"ids\[1\] must be a known node \(7\)"):
        graph.remove_nodes(np.array([1, 7], I))
    with pytest.raises(ValueError, match=r"nodes\[0\] must be a known node \(7\)"):
        graph.reinforce(np.array([7], I), quality=1.0, now=0.0)
    with pytest.raises(ValueError, match=r"id must be a known node \(7\)"):
        graph.neighbours(7)
    assert graph.snapshot() == before


@pytest.mark.parametrize("types", ["01", [1.7], 1])
def test_types_are_integers(types: Any) -> None:
    with pytest.raises(TypeError, match="types must be integers"):
        chain(3).expand(np.array([0], I), types=types)


def test_membership_is_asked_with_integers_of_any_size() -> None:
    graph = chain(3)
    assert 1 in graph
    assert 2**63 not in graph
    assert -(2**70) not in graph
    with pytest.raises(TypeError):
        _ = 1.7 in graph  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hops": -1}, r"hops must be >= 0 \(-1\)"),
        ({"max_nodes": 0}, r"max_nodes must be >= 1 \(0\)"),
        ({"fan_out": 0}, r"fan_out must be >= 1 \(0\)"),
        ({"min_weight": np.nan}, "min_weight must be in"),
        ({"min_weight": 1.5}, "min_weight must be in"),
        ({"types": [3]}, r"types must be in \[0, 3\) \(3\)"),
        ({"types": [-1]}, r"types must be in \[0, 3\) \(-1\)"),
        ({"direction": "up"}, r"direction must be both, out or in \(up\)"),
    ],
)
def test_bad_limits_are_refused_by_name(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chain(3).expand(np.array([0], I), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["quality", "credit", "eta"])
@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_outcomes_are_within_their_range(name: str, value: float) -> None:
    arguments = {"quality": 1.0, "now": 0.0} | {name: value}
    with pytest.raises(ValueError, match=f"{name} must be in"):
        chain(3).reinforce(np.array([0, 1], I), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("half_life_s", [0.0, -1.0, np.nan, np.array([1, 1, 0], F), np.array([1, 1], F), np.ones(3)])
def test_half_lives_are_positive_and_one_a_type(half_life_s: float) -> None:
    with pytest.raises(ValueError, match="half_life_s"):
        Graph(num_types=NUM_TYPES, half_life_s=half_life_s)
    with pytest.raises(ValueError, match="half_life_s"):
        Graph.restore(chain(3).snapshot(), half_life_s=half_life_s)


def test_a_graph_keeps_its_own_half_lives() -> None:
    half_lives = np.array([1.0, 2.0, np.inf], F)
    graph = Graph(num_types=NUM_TYPES, half_life_s=half_lives)
    half_lives[:] = graph.half_life_s[:] = 5.0
    assert graph.half_life_s.tolist() == [1.0, 2.0, np.inf]
    assert Graph.restore(graph.snapshot()).half_life_s.tolist() == [np.inf] * NUM_TYPES
    assert Graph.restore(graph.snapshot(), half_life_s=3.0).half_life_s.tolist() == [3.0] * NUM_TYPES


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"num_types": 0}, r"num_types must be in \[1, 256\] \(0\)"),
        ({"num_types": 257}, "num_types must be in"),
        ({"num_types": 1, "epoch": np.nan}, "epoch must be finite"),
        ({"num_types": 1, "decayed_at": np.inf}, "decayed_at must be finite"),
    ],
)
def test_a_graph_needs_types_and_a_time(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Graph(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("floor, min_interactions", [(-0.1, 0), (1.1, 0), (np.nan, 0), (0.5, -1)])
def test_pruning_needs_a_floor_and_a_count(floor: float, min_interactions: int) -> None:
    with pytest.raises(ValueError, match=r"(floor|min_interactions) must be"):
        chain(3).decay(0.0, floor=floor, min_interactions=min_interactions)


def test_degrees_count_edges_out_and_in() -> None:
    graph = Graph(num_types=2)
    graph.add_nodes(np.array([1, 2, 3], np.int64))
    src, dst = np.array([1, 1, 2, 1], np.int64), np.array([2, 3, 3, 2], np.int64)
    ones = np.ones(4, np.float32)
    graph.add_edges(src, dst, np.array([0, 0, 0, 1], np.uint8), ones, ones)
    assert graph.degrees(np.array([1, 3, 2, 77], np.int64)).tolist() == [[3, 0], [0, 2], [1, 2], [0, 0]]
