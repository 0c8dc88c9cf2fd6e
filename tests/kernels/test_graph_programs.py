"""The graph against a plain dict, over random programs; its snapshot, whole and damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.graph_model import GraphModel
from kernels.xxh64 import forged
from ruvllm.kernels import Graph

I, B, F = np.int64, np.uint8, np.float32  # noqa: E741
NUM_TYPES = 3
HALF_LIVES = np.array([50, 200, np.inf], F)
EPS = float(np.finfo(F).eps)
DECAYED_AT = 24  # its place in a snapshot


def ids_of(seed: int, n: int, among: list[int]) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array(among, I), n) if among else np.empty(0, I)


def assert_faded_alike(ours: float, expected: float) -> None:
    # float32: the product, exp2 (2 ulp) and an exponent of at most 6 with 3 roundings; an outcome moves it in 3 more
    assert abs(ours - expected) <= (7 + 18 * np.log(2)) * EPS * ours + 1e-44


class Pair:
    """The graph and its model, changed by the same steps."""

    def __init__(self) -> None:
        self.graph, self.model = Graph(num_types=NUM_TYPES, half_life_s=HALF_LIVES), GraphModel(HALF_LIVES)

    def add_nodes(self, seed: int) -> None:
        ids = np.random.default_rng(seed).integers(-20, 40, 8)
        assert self.graph.add_nodes(ids) == len(set(ids.tolist()) - self.model.nodes)
        self.model.nodes |= set(ids.tolist())

    def remove_nodes(self, seed: int) -> None:
        ids = ids_of(seed, 2, sorted(self.model.nodes))
        self.graph.remove_nodes(ids)
        self.model.remove_nodes(ids.tolist())

    def add_edges(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        src, dst = (rng.choice(np.array(sorted(self.model.nodes) or [0], I), 40) for _ in range(2))
        keep = (src != dst) & bool(self.model.nodes)
        src, dst = src[keep], dst[keep]
        types = rng.integers(0, NUM_TYPES, len(src)).astype(B)
        weights = (rng.integers(0, 9, len(src)) / 8).astype(F)  # few values: many ties
        used = rng.integers(0, 100, len(src)).astype(F)
        before = len(self.model.edges)
        for k in range(len(src)):
            key = (int(src[k]), int(dst[k]), int(types[k]))
            self.model.add_edge(key, weights[k], used[k])
        new = self.graph.add_edges(src, dst, types, weights, used)
        assert new == len(self.model.edges) - before

    def _some_edges(self, seed: int) -> list[tuple[int, int, int]]:
        rng, known = np.random.default_rng(seed), sorted(self.model.edges)
        return [known[i] for i in rng.integers(0, len(known), min(len(known), 15))] if known else []

    def remove_edges(self, seed: int) -> None:
        keys = self._some_edges(seed)
        src, dst, types = np.array(keys, I).reshape(-1, 3).T.copy()
        self.graph.remove_edges(src, dst, types.astype(B))
        for key in keys:
            self.model.edges.pop(key, None)

    def update_edges(self, seed: int) -> None:
        keys = self._some_edges(seed)
        weights = np.random.default_rng(seed).random(len(keys), dtype=F)
        src, dst, types = np.array(keys, I).reshape(-1, 3).T.copy()
        self.graph.update_edges(src, dst, types.astype(B), weights=weights)
        for key, weight in zip(keys, weights, strict=True):
            self.model.edges[key].weight = weight

    def reinforce(self, seed: int) -> None:
        ids = ids_of(seed, 12, sorted(self.model.nodes))
        quality, success = (seed % 11) / 10, (None, True, False)[seed % 3]
        moved = self.graph.reinforce(ids, quality=quality, success=success, credit=0.5, eta=0.25, now=seed % 100)
        assert moved == self.model.reinforce(set(ids.tolist()), quality, success, 0.5, 0.25, seed % 100)
        self._take_weights()

    def decay(self, seed: int) -> None:
        now = float(seed % 300)
        floor, least = (0.0, 0.0) if seed % 2 else (0.3, seed % 3)
        pruned = self.graph.decay(now, floor=floor, min_interactions=int(least))
        assert pruned == self.model.decay(now, floor, int(least))
        self._take_weights()

    def _take_weights(self) -> None:
        """Compare decayed weights up to rounding, then go on with ours, so that ties stay ties."""
        for key, values in self.model.edges.items():
            found = self.graph.edge(*key)
            assert found is not None
            assert_faded_alike(found.weight, values.weight)
            values.weight = F(found.weight)

    def restore(self, seed: int) -> None:
        snapshot = self.graph.snapshot()
        self.graph = Graph.restore(snapshot, half_life_s=HALF_LIVES)
        assert self.graph.snapshot() == snapshot

    def check(self, seed: int) -> None:
        graph, model = self.graph, self.model
        assert (graph.num_nodes, graph.num_edges) == (len(model.nodes), len(model.edges))
        assert set(graph.node_ids().tolist()) == model.nodes
        for key, values in model.edges.items():
            assert graph.edge(*key) == values.astuple()
            later = graph.edge(*key, now=seed % 300)
            assert later is not None
            assert_faded_alike(later.weight, model.faded(key, seed % 300))
        types = None if seed % 3 else {0, 2}
        direction = ("both", "out", "in")[seed % 3]
        for id in ids_of(seed, 3, sorted(model.nodes)).tolist():
            found = graph.neighbours(id, types=types, direction=direction)  # type: ignore[arg-type]
            expected = model.entries(id, types, 0.0, direction)
            entries = zip((-found.weights).tolist(), found.ids, found.directions, found.types, strict=True)
            assert list(entries) == expected
        self._check_expansion(seed, types, direction)

    def _check_expansion(self, seed: int, types: set[int] | None, direction: str) -> None:
        seeds = np.random.default_rng(seed).integers(-20, 40, 4)
        limits = {"hops": seed % 4, "max_nodes": 1 + seed % 23, "fan_out": 1 + seed % 7, "min_weight": seed % 2 / 4}
        found = self.graph.expand(seeds, types=types, direction=direction, **limits)  # type: ignore[arg-type]
        hop_of, rows = self.model.expand(seeds.tolist(), types=types, direction=direction, **limits)  # type: ignore[arg-type]
        assert found.ids.tolist() == list(hop_of)
        assert found.hops.tolist() == list(hop_of.values())
        entries = list(zip(found.indices, found.directions, found.types, strict=True))
        assert [entries[found.indptr[i] : found.indptr[i + 1]] for i in range(len(rows))] == rows
        owners = found.ids[np.repeat(np.arange(len(rows)), np.diff(found.indptr))]
        columns = (owners, found.ids[found.indices], found.directions, found.types)
        for k, (id, neighbour, d, type) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            carried = (found.weights[k], found.last_used[k], found.successes[k], found.failures[k])
            assert carried == self.model.values(id, neighbour, d, type).astuple()


STEPS = [
    "add_nodes",
    "add_edges",
    "add_edges",
    "remove_nodes",
    "remove_edges",
    "update_edges",
    "reinforce",
    "decay",
    "restore",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10**6)), max_size=12))
def test_random_programs_match_a_dict(program: list[tuple[str, int]]) -> None:
    pair = Pair()
    pair.add_nodes(1)
    for step, seed in program:
        getattr(pair, step)(seed)
    pair.check(program[-1][1] if program else 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_life_matches_a_dict(isa: str, seed: int) -> None:
    rng, pair = np.random.default_rng(seed), Pair()
    for i in range(200):
        getattr(pair, STEPS[rng.integers(len(STEPS))])(int(rng.integers(10**6)))
        if i % 20 == 0:
            pair.check(i)
    pair.check(seed)


def small_snapshot() -> bytes:
    pair = Pair()
    for seed, step in enumerate(["add_nodes", "add_nodes", "add_edges", "reinforce", "decay"]):
        getattr(pair, step)(seed)
    return pair.graph.snapshot()


def test_a_snapshot_cut_anywhere_is_refused() -> None:
    snapshot = small_snapshot()
    for length in range(len(snapshot)):
        with pytest.raises(ValueError, match="snapshot must"):
            Graph.restore(snapshot[:length])


@pytest.mark.parametrize("more", [b"\0", b"\0" * 17, b"x" * 4096])
def test_an_extended_snapshot_is_refused(more: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot must"):
        Graph.restore(small_snapshot() + more)


def test_every_flipped_bit_is_found() -> None:
    snapshot = small_snapshot()
    for i in range(8 * len(snapshot)):
        damaged = bytearray(snapshot)
        damaged[i // 8] ^= 1 << i % 8
        with pytest.raises(ValueError, match="snapshot must"):
            Graph.restore(bytes(damaged))


@pytest.mark.parametrize("foreign", [b"", b"SQLite format 3\0" * 40, b"\xff" * 1000, b"RUVLGRPH" + b"\xff" * 200])
def test_foreign_bytes_are_refused(foreign: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot must"):
        Graph.restore(foreign)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=1)), min_size=1, max_size=3))
def test_even_a_forged_snapshot_is_refused_or_sound(changes: list[tuple[int, bytes]]) -> None:
    snapshot = small_snapshot()
    assert forged(snapshot) == snapshot
    forgery = forged(snapshot, *((at % (len(snapshot) - 8), byte) for at, byte in changes))
    try:
        graph = Graph.restore(forgery)
    except ValueError as error:
        assert str(error).startswith("snapshot must ")
    else:
        assert graph.snapshot() == forgery
        graph.expand(graph.node_ids())


def test_an_empty_graph_survives_its_snapshot() -> None:
    graph = Graph.restore(Graph(num_types=7, epoch=3.5, decayed_at=4.5).snapshot())
    assert (graph.num_nodes, graph.num_edges, graph.num_types) == (0, 0, 7)
    assert (graph.epoch, graph.decayed_at) == (3.5, 4.5)


@pytest.mark.parametrize("decayed_at", [-1.1e18, 1.1e18, np.inf, np.nan])
def test_a_decay_out_of_all_time_is_refused(decayed_at: float) -> None:
    with pytest.raises(ValueError, match="snapshot must hold a valid decayed_at"):
        Graph.restore(forged(small_snapshot(), (DECAYED_AT, struct.pack("<d", decayed_at))))


def test_a_graph_that_never_decayed_survives_its_snapshot() -> None:
    snapshot = Graph(num_types=1).snapshot()
    assert Graph.restore(snapshot).decayed_at is None
    assert forged(snapshot, (DECAYED_AT, struct.pack("<d", -np.inf))) == snapshot
