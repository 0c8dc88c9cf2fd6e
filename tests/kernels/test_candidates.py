"""Nearness, prior and features of candidates, against the same formulas in NumPy and float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ruvllm.kernels import Graph, Subgraph, candidate_features, nearness, pagerank, walk_prior

NUM_TYPES, NUM_WAYS = 3, 4
WAY_OF = np.array([[0, 1], [2, 3], [9, 9]], np.uint8)  # links of the last type count nowhere
WALK: dict[str, Any] = {
    "relevance": 0.25,
    "forward": 2.4,
    "hubness": 0.8,
    "sharpness": 11.5,
    "keyword_weight": 0.6,
    "named_share": 0.4,
    "starts": 5,
    "damping": 0.65,
    "stay": 1.0,
}
BESIDE = np.array([0.3, 0.0, 0.7], np.float32)
FEATURES: dict[str, Any] = {"way_of": WAY_OF, "num_ways": NUM_WAYS, "cites_in": 1, "order": 2, "floor": 1e-4}

Columns = dict[str, np.ndarray]


def made(n: int, *, num_edges: int | None = None, seed: int = 0) -> tuple[Subgraph, np.ndarray, Columns]:
    """Return a graph of n nodes, their degrees, and a random column of each sort."""
    rng = np.random.default_rng(seed)
    graph = Graph(num_types=NUM_TYPES)
    graph.add_nodes(np.arange(n))
    ends = rng.integers(0, n, (2, 4 * n if num_edges is None else num_edges))
    src, dst = ends[:, ends[0] != ends[1]]
    types = rng.integers(0, NUM_TYPES, len(src), dtype=np.uint8)
    graph.add_edges(src.copy(), dst.copy(), types, rng.random(len(src), np.float32), np.zeros(len(src), np.float32))
    ids = np.arange(n)
    columns = {name: rng.random(n, np.float32) for name in ("similarity", "keyword", "trust", "fused", "rest")}
    columns["named"] = np.where(rng.random(n) < 0.2, rng.random(n), 0.0).astype(np.float32)
    columns["speaker"] = (rng.random(n) < 0.3).astype(np.float32)
    columns["bonus"] = rng.normal(0.0, 0.2, n).astype(np.float32)
    return graph.among(ids), graph.degrees(ids), columns


def walk_of(graph: Subgraph, degrees: np.ndarray, columns: Columns, type_weights: np.ndarray) -> np.ndarray:
    given = {name: columns[name] for name in ("similarity", "bonus", "keyword", "named", "trust")}
    return walk_prior(graph, degrees, **given, type_weights=type_weights, beside=BESIDE, **WALK)


def walk_twin(graph: Subgraph, degrees: np.ndarray, columns: Columns, type_weights: np.ndarray) -> np.ndarray:
    c = {name: column.astype(np.float64) for name, column in columns.items()}
    rows = np.repeat(np.arange(len(c["trust"])), np.diff(graph.indptr))
    counts = BESIDE[graph.types] * c["trust"][graph.indices]
    near, whole = c["similarity"].copy(), np.ones(len(c["trust"]))
    np.add.at(near, rows, counts * c["similarity"][graph.indices])
    np.add.at(whole, rows, counts)
    near = near / whole + c["bonus"]
    z = np.clip((near - near.mean()) / (near.std() + 1e-6), -3.0, 3.0)
    appeal = np.exp(0.25 * z) * (1.0 + degrees[:, 1]) ** -0.8
    score = near - near.max() + 0.6 * (c["keyword"] - 1.0)
    start = np.exp(11.5 * score) * c["trust"]
    if not start.any():
        start = np.ones_like(start)
    if len(start) > 5:
        start[start < np.sort(start)[-5]] = 0.0
    start /= start.sum()
    named = c["named"] * np.exp(score)
    if named.any():
        start = 0.6 * start + 0.4 * named / named.sum()
    weights = graph.weights * appeal[graph.indices] * np.where(graph.directions == 0, 2.4, 1.0)
    ranks, _ = pagerank(
        graph.indptr,
        graph.indices,
        weights.astype(np.float32),
        start.astype(np.float32),
        damping=0.65,
        stay=1.0,
        types=graph.types,
        type_weights=type_weights,
    )
    return ranks


def features_twin(graph: Subgraph, degrees: np.ndarray, prior: np.ndarray, place: np.ndarray, c: Columns) -> np.ndarray:
    n, similarity = len(prior), c["similarity"].astype(np.float64)
    score = np.maximum(similarity - similarity.max() + 1.0, 0.0) + 0.5 * c["keyword"]
    called = np.where(c["named"] > 0.0, 2.0, 0.0)
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    ways = WAY_OF[graph.types, graph.directions]

    def best(values: np.ndarray, way: int) -> np.ndarray:
        out = np.zeros(n)
        np.maximum.at(out, rows[ways == way], values[graph.indices[ways == way]])
        return out

    order = np.maximum(best(score, 2), best(score, 3))
    others = [place == p for p in place]
    columns = [
        np.log(prior + 1e-4),
        4.0 * (similarity - similarity.max()),
        2.0 * c["keyword"],
        2.0 * c["keyword"] * similarity,
        4.0 * c["fused"],
        called,
        *(best(values, way) for way in range(NUM_WAYS) for values in (called, score)),
        best(best(score, 1), 1),
        np.maximum(best(order, 2), best(order, 3)),
        0.5 * np.log1p(degrees[:, 0]),
        0.5 * np.log1p(degrees[:, 1]),
        4.0 * c["rest"],
        c["speaker"],
        [(score[same].sum() - own) / max(same.sum() - 1, 1) for same, own in zip(others, score, strict=True)],
    ]
    return np.column_stack(columns)


def features_of(graph: Subgraph, degrees: np.ndarray, prior: np.ndarray, place: np.ndarray, c: Columns) -> np.ndarray:
    given = {name: c[name] for name in ("similarity", "keyword", "fused", "named", "rest", "speaker")}
    return candidate_features(graph, degrees, prior=prior, place=place, **given, **FEATURES)


def nearness_twin(
    graph: Subgraph, vectors: np.ndarray, known: np.ndarray, question: np.ndarray, num_strong: int
) -> tuple[np.ndarray, np.ndarray]:
    n = len(graph.ids)
    all_vectors = np.zeros((n, vectors.shape[1]))
    all_vectors[known] = vectors
    similarity, rest = all_vectors @ question.astype(np.float64), np.zeros(n)
    for strong in known[known < num_strong]:
        left = question - similarity[strong] * all_vectors[strong]
        near = graph.indices[graph.indptr[strong] : graph.indptr[strong + 1]]
        rest[near] = np.maximum(rest[near], all_vectors[near] @ (left / (np.linalg.norm(left) + 1e-6)))
    return similarity, rest


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((n, dim), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "dim", "num_strong"), [(1, 1, 0), (1, 3, 4), (7, 8, 4), (60, 33, 60), (300, 384, 4)])
def test_nearness_is_that_of_the_formulas(n: int, dim: int, num_strong: int) -> None:
    rng = np.random.default_rng(n)
    graph, _, _ = made(n, num_edges=0 if n == 1 else None, seed=n)
    known = np.flatnonzero(rng.random(n) < 0.8)
    vectors, question = unit_rows(rng, len(known), dim), unit_rows(rng, 1, dim)[0]
    found = nearness(graph, vectors, known, question, num_strong=num_strong)
    expected = nearness_twin(graph, vectors, known, question, num_strong)
    for one, twin in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, twin, rtol=0, atol=1e-5)


def test_nothing_is_left_of_a_question_that_a_candidate_repeats() -> None:
    graph, _, _ = made(4, seed=1)
    vectors = np.eye(4, dtype=np.float32)
    similarity, rest = nearness(graph, vectors, np.arange(4), vectors[0], num_strong=1)
    assert (similarity.tolist(), rest.tolist()) == ([1.0, 0.0, 0.0, 0.0], [0.0] * 4)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"vectors": np.full((2, 3), np.nan, np.float32)}, r"vectors\[0\] must be finite"),
        ({"question": np.zeros(2, np.float32)}, r"vectors must have 2 columns \(3\)"),
        ({"known": np.array([1, 1])}, r"known\[1\] must ascend in \[0, 4\) \(1\)"),
        ({"known": np.array([0, 4])}, r"known\[1\] must ascend in \[0, 4\) \(4\)"),
        ({"known": np.array([-1, 0])}, r"known\[0\] must ascend in"),
        ({"known": np.arange(3)}, r"known must have 2 entries \(3\)"),
        ({"num_strong": -1}, r"num_strong must be >= 0 \(-1\)"),
    ],
)
def test_bad_nearness_is_refused_by_name(changed: dict[str, Any], says: str) -> None:
    graph, _, _ = made(4, seed=1)
    given: dict[str, Any] = {"vectors": np.eye(2, 3, dtype=np.float32), "known": np.array([0, 3]), "num_strong": 4}
    with pytest.raises(ValueError, match=says):
        nearness(graph, **given | {"question": np.zeros(3, np.float32)} | changed)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 60, 300])
def test_the_prior_is_that_of_the_formula(n: int) -> None:
    graph, degrees, columns = made(n, seed=n)
    type_weights = np.array([1.0, 0.6, 0.1], np.float32)
    prior = walk_of(graph, degrees, columns, type_weights)
    np.testing.assert_allclose(prior, walk_twin(graph, degrees, columns, type_weights), rtol=1e-4, atol=1e-6)
    assert prior.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("changed", ["named", "trust"])
def test_a_walk_starts_also_where_nothing_is_named_or_trusted(changed: str) -> None:
    graph, degrees, columns = made(40)
    columns[changed] = np.zeros(40, np.float32)
    weights = np.ones(NUM_TYPES, np.float32)
    expected = walk_twin(graph, degrees, columns, weights)
    np.testing.assert_allclose(walk_of(graph, degrees, columns, weights), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n", "num_edges"), [(1, 0), (2, 1), (7, 30), (300, None)])
def test_features_are_those_of_the_formulas(n: int, num_edges: int | None) -> None:
    graph, degrees, columns = made(n, num_edges=num_edges, seed=n)
    rng = np.random.default_rng(n)
    prior, place = rng.random(n, np.float32), rng.integers(-3, max(n // 4, 1), n)
    expected = features_twin(graph, degrees, prior, place, columns)
    # a mean of k scores of at most 1.5 in float32: k 2^-24 1.5, well below 1e-5 for 300
    np.testing.assert_allclose(features_of(graph, degrees, prior, place, columns), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"named": np.full(4, 2.0, np.float32)}, r"named\[0\] must be in \[0.0, 1.0\]"),
        ({"similarity": np.array([0, np.nan, 0, 0], np.float32)}, "similarity must be finite: entry 1"),
        ({"keyword": np.zeros(3, np.float32)}, r"keyword must have 4 entries \(3\)"),
        ({"starts": 0}, r"starts must be >= 1 \(0\)"),
        ({"named_share": 1.5}, "named_share must be in"),
        ({"damping": 1.0}, r"damping must be in \[0, 1\)"),
        ({"hubness": -1.0}, "hubness must be in"),
        ({"bonus": np.full(4, np.inf, np.float32)}, "bonus must be finite: entry 0"),
        ({"beside": np.ones(2, np.float32)}, r"beside must have 3 entries \(2\)"),
        ({"beside": np.full(3, -1.0, np.float32)}, r"beside\[0\] must be in"),
        (
            {"type_weights": np.ones(1, np.float32), "beside": np.ones(1, np.float32)},
            r"types\[\d+\] must be in \[0, 1\)",
        ),
    ],
)
def test_a_bad_walk_is_refused_by_name(changed: dict[str, Any], says: str) -> None:
    graph, degrees, columns = made(4, seed=1)
    given: dict[str, Any] = {name: columns[name] for name in ("similarity", "bonus", "keyword", "named", "trust")}
    given |= {"type_weights": np.ones(NUM_TYPES, np.float32), "beside": BESIDE, **WALK}
    with pytest.raises(ValueError, match=says):
        walk_prior(graph, degrees, **given | changed)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"num_ways": 1}, r"num_ways must be in \[2, 255\]"),
        ({"cites_in": 4}, "cites_in must be below num_ways"),
        ({"order": 3}, "order must be below num_ways - 1"),
        ({"floor": 0.0}, "floor must be in"),
        ({"prior": np.full(4, -1.0, np.float32)}, r"prior\[0\] must be in"),
        ({"place": np.zeros(4, np.int32)}, "place must have dtype int64"),
        ({"way_of": WAY_OF[:1].copy()}, r"types\[\d+\] must be in \[0, 1\)"),
    ],
)
def test_bad_features_are_refused_by_name(changed: dict[str, Any], says: str) -> None:
    graph, degrees, c = made(4, seed=1)
    given: dict[str, Any] = {name: c[name] for name in ("similarity", "keyword", "fused", "named", "rest", "speaker")}
    given |= {"prior": np.full(4, 0.25, np.float32), "place": np.arange(4), **FEATURES}
    with pytest.raises(ValueError, match=says):
        candidate_features(graph, degrees, **given | changed)


def test_degrees_are_counts() -> None:
    graph, degrees, columns = made(4)
    with pytest.raises(ValueError, match="degrees must be >= 0"):
        walk_of(replace(graph), -1 - degrees, columns, np.ones(NUM_TYPES, np.float32))
