"""Places: no box on another, linked nodes near each other, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.viz import place


def case(n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return random sizes, links, weights and rings."""
    rng = np.random.default_rng(seed)
    sizes = np.stack([rng.uniform(40.0, 170.0, n), np.full(n, 47.0)], axis=1)
    return sizes, rng.integers(0, n, (m, 2)), rng.random(m), rng.integers(0, 3, n)


@pytest.mark.parametrize("n", [2, 10, 60, 200])
@pytest.mark.parametrize("seed", range(3))
def test_no_box_lies_on_another(n: int, seed: int) -> None:
    sizes, links, weights, rings = case(n, 3 * n, seed)
    points = place(sizes, links, weights, rings)
    apart, needed = np.abs(points[:, None] - points[None]), (sizes[:, None] + sizes[None]) / 2
    overlaps = (apart < needed - 1e-5).all(axis=2)
    assert overlaps.sum() == n  # each with itself


def test_linked_nodes_lie_nearer_than_others() -> None:
    links = np.array([(i, j) for start in (0, 8) for i in range(start, start + 8) for j in range(start, i)])
    points = place(np.full((16, 2), 20.0), links, np.ones(len(links)), np.zeros(16, np.int64))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert distance[:8, :8].mean() < 0.6 * distance[:8, 8:].mean()


def test_the_same_seed_gives_the_same_places() -> None:
    np.testing.assert_array_equal(place(*case(20, 40, 0), seed=5), place(*case(20, 40, 0), seed=5))


@pytest.mark.parametrize("n", [0, 1])
def test_few_nodes_lie_in_the_middle(n: int) -> None:
    points = place(np.full((n, 2), 20.0), np.zeros((0, 2), np.int64), np.zeros(0), np.zeros(n, np.int64))
    np.testing.assert_allclose(points, np.zeros((n, 2)), atol=5.0)
