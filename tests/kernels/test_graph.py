"""The graph: nodes, edges, what outcomes and time do to weights."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from ruvllm.kernels import EdgeValues, Graph

from .graph_cases import NUM_TYPES, ONE, B, C, F, I, graph_of


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


def test_a_graph_keeps_its_own_half_lives() -> None:
    half_lives = np.array([1.0, 2.0, np.inf], F)
    graph = Graph(num_types=NUM_TYPES, half_life_s=half_lives)
    half_lives[:] = graph.half_life_s[:] = 5.0
    assert graph.half_life_s.tolist() == [1.0, 2.0, np.inf]
    assert Graph.restore(graph.snapshot()).half_life_s.tolist() == [np.inf] * NUM_TYPES
    assert Graph.restore(graph.snapshot(), half_life_s=3.0).half_life_s.tolist() == [3.0] * NUM_TYPES


def test_degrees_count_edges_out_and_in() -> None:
    graph = Graph(num_types=2)
    graph.add_nodes(np.array([1, 2, 3], np.int64))
    src, dst = np.array([1, 1, 2, 1], np.int64), np.array([2, 3, 3, 2], np.int64)
    ones = np.ones(4, np.float32)
    graph.add_edges(src, dst, np.array([0, 0, 0, 1], np.uint8), ones, ones)
    assert graph.degrees(np.array([1, 3, 2, 77], np.int64)).tolist() == [[3, 0], [0, 2], [1, 2], [0, 0]]
