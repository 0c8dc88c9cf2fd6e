"""What a graph refuses, by name and without a change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ruvllm.kernels import Graph

from .graph_cases import NUM_TYPES, ONE, B, F, I, chain, graph_of


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
