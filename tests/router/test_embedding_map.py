from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.embedding_map import NUM_CLUSTERS, NUM_COMPONENTS, EmbeddingMap

DIM = 32


def vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, DIM)) * np.linspace(2.0, 0.2, DIM) + 2.0 * np.eye(6, DIM)[rng.integers(6, size=n)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def fitted() -> EmbeddingMap:
    return EmbeddingMap.fit(vectors(2000), np.random.default_rng(0))


def test_coordinates_are_uncorrelated_with_variance_one(fitted: EmbeddingMap) -> None:
    coordinates = fitted.place(vectors(2000))[:, :NUM_COMPONENTS]

    np.testing.assert_allclose(coordinates.T @ coordinates / 2000, np.eye(NUM_COMPONENTS), atol=1e-3)


def test_the_first_component_is_the_widest(fitted: EmbeddingMap) -> None:
    unit = vectors(2000)
    _, singular, axes = np.linalg.svd(unit.astype(np.float64) - unit.mean(axis=0), full_matrices=False)

    first = fitted.components[0] / np.linalg.norm(fitted.components[0])

    assert abs(first @ axes[0]) == pytest.approx(1.0, abs=1e-4)
    assert np.linalg.norm(fitted.components[0]) == pytest.approx(np.sqrt(2000) / singular[0], rel=1e-3)


def test_what_lies_at_a_centre_is_most_like_it(fitted: EmbeddingMap) -> None:
    similarities = fitted.place(fitted.centres)[:, -NUM_CLUSTERS:]

    np.testing.assert_array_equal(similarities.argmax(axis=1), np.arange(NUM_CLUSTERS))


def test_length_does_not_matter(fitted: EmbeddingMap) -> None:
    np.testing.assert_allclose(fitted.place(5.0 * vectors(9)), fitted.place(vectors(9)), atol=1e-5)


def test_an_array_keeps_it_whole(fitted: EmbeddingMap) -> None:
    read = EmbeddingMap.from_array(fitted.to_array())

    assert read.version == fitted.version
    np.testing.assert_array_equal(read.place(vectors(9)), fitted.place(vectors(9)))


def test_the_version_is_that_of_what_it_was_fitted_on(fitted: EmbeddingMap) -> None:
    assert EmbeddingMap.fit(vectors(2000), np.random.default_rng(0)).version == fitted.version
    assert EmbeddingMap.fit(vectors(2000, seed=1), np.random.default_rng(0)).version != fitted.version


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_vectors_leave_components_zero(n: int) -> None:
    few = EmbeddingMap.fit(vectors(n), np.random.default_rng(0))

    assert (np.linalg.norm(few.components, axis=1) > 0.0).sum() <= n - 1
    assert np.isfinite(few.place(vectors(50))).all()


@pytest.mark.parametrize("bad", [np.empty((0, DIM)), np.zeros((3, DIM)), np.full((3, DIM), np.nan), np.ones(DIM)])
def test_no_map_of_bad_vectors(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vector"):
        EmbeddingMap.fit(bad, np.random.default_rng(0))


@pytest.mark.parametrize("bad", [np.ones((1, DIM + 1)), np.full((1, DIM), np.nan), np.zeros((1, DIM))])
def test_a_bad_vector_has_no_place(fitted: EmbeddingMap, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vector"):
        fitted.place(bad)


@pytest.mark.parametrize(
    "flat", [np.ones(5, np.float32), np.ones(54), np.full(54, np.nan, np.float32), np.ones((2, 27), np.float32)]
)
def test_a_damaged_array_is_refused(flat: np.ndarray) -> None:
    with pytest.raises(ValueError, match="flat"):
        EmbeddingMap.from_array(flat)
