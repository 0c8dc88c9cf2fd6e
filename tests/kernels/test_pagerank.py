"""Personalised PageRank against networkx and a dense float64 solution."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.kernels import pagerank

I, J, B, F = np.int64, np.int32, np.uint8, np.float32  # noqa: E741
EPS = float(np.finfo(F).eps)

Links = tuple[np.ndarray, np.ndarray, np.ndarray]


def links(n: int, nnz: int, seed: int = 0) -> Links:
    """Random links in which about a tenth of the nodes have none; the same pair may be linked twice."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(np.arange(0, n, 1)[rng.random(n) < 0.9] if n > 3 else np.arange(n), nnz))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return indptr.astype(I), rng.integers(0, n, nnz).astype(J), rng.random(nnz, dtype=F)


def restart_of(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    restart = rng.random(n, dtype=F) * (rng.random(n) < 0.3)
    restart[0] = 1.0
    return restart


def exact(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, restart: np.ndarray, damping: float
) -> np.ndarray:
    """The fixed point, by solving (I - damping P') p = (1 - damping) r in float64; P' sends dangling nodes to r."""
    n, r = len(restart), restart.astype(np.float64) / restart.sum(dtype=np.float64)
    transition = np.zeros((n, n))
    np.add.at(transition, (np.repeat(np.arange(n), np.diff(indptr)), indices), weights.astype(np.float64))
    sums = transition.sum(axis=1, keepdims=True)
    transition = np.where(sums > 0, transition / np.where(sums > 0, sums, 1), r)
    return np.linalg.solve(np.eye(n) - damping * transition.T, (1 - damping) * r)


@pytest.mark.parametrize(("n", "nnz"), [(1, 0), (1, 3), (2, 1), (7, 20), (100, 50), (512, 4000)])
@pytest.mark.parametrize("damping", [0.0, 0.5, 0.85, 0.99])
def test_scores_are_the_fixed_point(n: int, nnz: int, damping: float) -> None:
    csr, restart, tolerance = links(n, nnz), restart_of(n), 1e-9
    scores, iterations = pagerank(*csr, restart, damping=damping, tolerance=tolerance, max_iterations=5000)
    # the map contracts by `damping` in L1: what is left after a step of `tolerance`, and the rounding of the answer
    left = tolerance * damping / (1 - damping)
    assert np.abs(scores - exact(*csr, restart, damping)).sum() <= left + EPS
    assert scores.sum(dtype=np.float64) == pytest.approx(1.0, abs=EPS)
    assert iterations < 5000


@pytest.mark.parametrize("seed", range(10))
def test_scores_match_networkx(seed: int) -> None:
    networkx = pytest.importorskip("networkx")
    csr, restart = links(60, 240, seed), restart_of(60, seed)
    graph = networkx.MultiDiGraph()
    graph.add_nodes_from(range(60))
    for i in range(60):
        for e in range(csr[0][i], csr[0][i + 1]):
            graph.add_edge(i, int(csr[1][e]), weight=float(csr[2][e]))
    personalization = dict(enumerate(restart.astype(float).tolist()))
    expected = networkx.pagerank(graph, alpha=0.85, personalization=personalization, tol=1e-12, max_iter=1000)
    scores, _ = pagerank(*csr, restart, tolerance=1e-10, max_iterations=1000)
    np.testing.assert_allclose(scores, [expected[i] for i in range(60)], atol=1e-8, rtol=EPS)


def test_the_default_tolerance_is_kept() -> None:
    csr, restart = links(512, 4000), restart_of(512)
    scores, iterations = pagerank(*csr, restart)
    assert np.abs(scores - exact(*csr, restart, 0.85)).sum() <= 1e-4 * 0.85 / 0.15 + EPS
    assert iterations < 60  # 0.85^57 < 1e-4


def test_types_weigh_links() -> None:
    (indptr, indices, weights), restart = links(40, 200), restart_of(40)
    types = np.random.default_rng(3).integers(0, 3, 200).astype(B)
    factors = np.array([1.0, 0.25, 0.0], F)
    typed, _ = pagerank(indptr, indices, weights, restart, types=types, type_weights=factors)
    plain, _ = pagerank(indptr, indices, weights * factors[types], restart)
    np.testing.assert_allclose(typed, plain, rtol=4 * EPS, atol=4 * EPS)


def test_staying_is_a_link_of_every_node_to_itself() -> None:
    (indptr, indices, weights), restart = links(40, 200), restart_of(40)
    ends = indptr[1:]
    with_own = np.insert(indices, ends, np.arange(40, dtype=J)), np.insert(weights, ends, F(0.7))
    staying, _ = pagerank(indptr, indices, weights, restart, stay=0.7)
    plain, _ = pagerank(indptr + np.arange(41), *with_own, restart)
    np.testing.assert_allclose(staying, plain, rtol=4 * EPS, atol=4 * EPS)


def test_dangling_nodes_return_to_the_restart() -> None:
    indptr, indices = np.array([0, 1, 1, 1], I), np.array([1], J)
    for weight in (1.0, 0.0):  # a row of zero weights is one without links
        scores, _ = pagerank(indptr, indices, np.array([weight], F), np.array([1, 0, 0], F), tolerance=1e-12)
        expected = [1 / 1.85, 0.85 / 1.85, 0] if weight else [1, 0, 0]
        np.testing.assert_allclose(scores, expected, rtol=2 * EPS)


def test_iterations_are_bounded() -> None:
    _, iterations = pagerank(*links(50, 200), restart_of(50), tolerance=1e-300, max_iterations=7)
    assert iterations == 7


def test_the_scale_of_weights_and_restart_does_not_matter() -> None:
    (indptr, indices, weights), restart = links(30, 90), restart_of(30)
    one, _ = pagerank(indptr, indices, weights, restart)
    other, _ = pagerank(indptr, indices, weights * F(1024), restart * F(1e30))
    np.testing.assert_allclose(other, one, rtol=4 * EPS, atol=4 * EPS)


GOOD: dict[str, object] = {
    "indptr": np.array([0, 1, 2], I),
    "indices": np.array([1, 0], J),
    "weights": np.ones(2, F),
    "restart": np.ones(2, F),
}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"indptr": [0, 1, 2]}, TypeError, r"indptr must be a numpy array \(list\)"),
        ({"indptr": np.array([0, 1, 2], J)}, ValueError, r"indptr must have dtype int64 \(int32\)"),
        ({"indptr": np.array([0, 2], I)}, ValueError, r"indptr must have 3 entries \(2\)"),
        ({"indptr": np.array([1, 1, 2], I)}, ValueError, "indptr must start with 0"),
        ({"indptr": np.array([0, 3, 2], I)}, ValueError, "indptr must ascend"),
        ({"indptr": np.array([0, 1, 3], I)}, ValueError, "indptr must end with 2"),
        ({"indices": np.array([1, 2], J)}, ValueError, r"indices\[1\] must be in \[0, 2\) \(2\)"),
        ({"indices": np.array([-1, 0], J)}, ValueError, r"indices\[0\] must be in \[0, 2\) \(-1\)"),
        ({"weights": np.ones(3, F)}, ValueError, r"weights must have 2 entries \(3\)"),
        ({"weights": np.array([1, -1], F)}, ValueError, r"weights\[1\] must be >= 0"),
        ({"weights": np.array([1, np.nan], F)}, ValueError, "weights must be finite: entry 1"),
        ({"restart": np.zeros(2, F)}, ValueError, "restart must have an entry > 0"),
        ({"restart": np.array([1, -1], F)}, ValueError, r"restart\[1\] must be >= 0"),
        ({"restart": np.array([np.inf, 1], F)}, ValueError, "restart must be finite"),
        ({"restart": np.empty(0, F)}, ValueError, r"restart must have at least 1 entry \(0\)"),
        ({"damping": 1.0}, ValueError, "damping must be in"),
        ({"damping": np.nan}, ValueError, "damping must be in"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be > 0"),
        ({"stay": -1.0}, ValueError, "stay must be >= 0"),
        ({"stay": np.inf}, ValueError, "stay must be >= 0 and finite"),
        ({"max_iterations": 2**62}, ValueError, "max_iterations must be in"),
        ({"max_iterations": 0}, ValueError, r"max_iterations must be in \[1, 1000000\] \(0\)"),
        ({"types": np.zeros(2, B)}, TypeError, "type_weights must be a numpy array"),
        ({"type_weights": np.ones(1, F)}, TypeError, "types must be a numpy array"),
        ({"types": np.ones(2, B), "type_weights": np.ones(1, F)}, ValueError, r"types\[0\] must be in \[0, 1\) \(1\)"),
        ({"types": np.zeros(2, B), "type_weights": np.full(1, -1, F)}, ValueError, r"type_weights\[0\] must be >= 0"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        pagerank(**GOOD | change)  # type: ignore[arg-type]
