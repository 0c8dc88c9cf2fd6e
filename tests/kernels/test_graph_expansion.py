"""What lies around nodes: neighbours, subgraphs, hubs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ruvllm.kernels import Graph

from .graph_cases import NUM_TYPES, B, C, F, I, chain, graph_of, row


def test_graph_expansion_respects_hop_limit() -> None:
    for hops in range(6):
        subgraph = chain(9).expand(np.array([2], I), hops=hops)
        assert dict(zip(subgraph.ids.tolist(), subgraph.hops.tolist(), strict=True)) == {
            id: abs(id - 2) for id in range(10) if abs(id - 2) <= hops
        }


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
