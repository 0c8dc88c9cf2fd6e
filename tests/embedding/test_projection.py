"""Projections on vectors whose shape is known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from ruvllm.embedding import MIN_PCA_TEXTS, Projection, SentenceEncoder, choose_projection, fit_pca, gaussian, identity


def unit_vectors(n: int, dim: int, seed: int = 0, rank: int | None = None) -> np.ndarray:
    """Return (n, dim) float32 unit vectors that span `rank` directions."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, rank or dim)) @ rng.standard_normal((rank or dim, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_identity_returns_the_input_itself() -> None:
    x = unit_vectors(3, 16)
    assert identity(16).apply(x) is x


@pytest.mark.parametrize("make", [lambda: gaussian(48, 16), lambda: fit_pca(unit_vectors(200, 48), 16)])
def test_columns_are_orthonormal_and_results_unit_float32(make: object) -> None:
    projection = make()  # type: ignore[operator]
    np.testing.assert_allclose(projection.matrix.T @ projection.matrix, np.eye(16), atol=1e-5)
    y = projection.apply(unit_vectors(50, 48, seed=1))
    assert (y.shape, y.dtype) == ((50, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1.0, atol=1e-5)


def test_pca_keeps_all_cosines_of_vectors_that_span_no_more_than_dim() -> None:
    x = unit_vectors(300, 64, rank=10)
    y = fit_pca(x, 10).apply(x)
    np.testing.assert_allclose(y @ y.T, x @ x.T, atol=1e-4)


def test_pca_keeps_more_than_gaussian() -> None:
    x = unit_vectors(500, 64) * np.linspace(3, 0.01, 64, dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    errors = [np.abs(p.apply(x) @ p.apply(x).T - x @ x.T).mean() for p in (fit_pca(x, 32), gaussian(64, 32))]
    assert errors[0] < errors[1] / 3


def test_the_same_seed_gives_the_same_map_and_another_does_not() -> None:
    np.testing.assert_array_equal(gaussian(32, 8, seed=3).matrix, gaussian(32, 8, seed=3).matrix)
    assert np.abs(gaussian(32, 8, seed=3).matrix - gaussian(32, 8, seed=4).matrix).max() > 0.1
    assert gaussian(32, 8, seed=3).version == "gaussian-8-seed3"
    assert gaussian(32, 8, seed=3).matrix[0, 0] == pytest.approx(0.280085, abs=1e-5)  # fixed for every machine


def test_pca_version_follows_the_content() -> None:
    x = unit_vectors(100, 16)
    assert fit_pca(x, 8).version == fit_pca(x.copy(), 8).version
    assert fit_pca(x, 8).version != fit_pca(unit_vectors(100, 16, seed=1), 8).version


@pytest.mark.parametrize("projection", [identity(16), gaussian(16, 8), fit_pca(unit_vectors(40, 16), 8)])
def test_bytes_bring_the_same_map_back(projection: Projection) -> None:
    again, x = Projection.from_bytes(projection.to_bytes()), unit_vectors(5, 16, seed=2)
    assert again.version == projection.version
    np.testing.assert_array_equal(again.apply(x), projection.apply(x))


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-4],
        lambda b: b"",
        lambda b: b"x" + b,
        lambda b: b[:-1] + b"\x7f",
        lambda b: b.replace(b"version", b"versyon"),
        lambda b: b.replace(b'"dim": 8', b'"dim": Infinity'),
        lambda b: b"[" * 100_000 + b,
    ],
)
def test_damaged_bytes_are_a_value_error(damage: object) -> None:
    raw = fit_pca(unit_vectors(40, 16), 8).to_bytes()
    with pytest.raises(ValueError, match="raw is"):
        Projection.from_bytes(damage(raw))  # type: ignore[operator]


def test_choose_projection_moves_from_gaussian_to_pca_with_enough_texts() -> None:
    x = unit_vectors(MIN_PCA_TEXTS, 24)
    assert choose_projection(24, 24, x).kind == "identity"
    assert choose_projection(24, 12).kind == "gaussian"
    assert choose_projection(24, 12, x[:-1]).kind == "gaussian"
    assert choose_projection(24, 12, x).kind == "pca"


@pytest.mark.parametrize("dim", [0, 25])
def test_a_dim_outside_the_models_own_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=r"\[1, 24\]"):
        choose_projection(24, dim)


def test_too_few_or_misshapen_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="at least dim rows"):
        fit_pca(unit_vectors(5, 16), 8)
    with pytest.raises(ValueError, match=r"\(n, 16\)"):
        gaussian(16, 8).apply(unit_vectors(5, 12))


@pytest.mark.real
@pytest.mark.slow
def test_pca_to_256_loses_at_most_one_point_of_recall(embedder: SentenceEncoder, shared_dir: Path) -> None:
    def rows(name: str) -> list[dict]:
        with gzip.open(shared_dir / "data" / "multihop" / name, "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    corpus, questions = rows("hotpotqa_corpus.jsonl.gz"), rows("hotpotqa_questions.jsonl.gz")
    x = embedder.encode([f"{r['title']}\n{r['text']}" for r in corpus])
    q = embedder.encode([r["question"] for r in questions])
    pids = np.array([r["pid"] for r in corpus])

    def recall(projection: Projection) -> float:
        top = np.argsort(-projection.apply(q) @ projection.apply(x).T, axis=1)[:, :10]
        found = [
            len(set(pids[t]) & set(r["gold_pids"])) / len(r["gold_pids"]) for t, r in zip(top, questions, strict=True)
        ]
        return float(np.mean(found))

    assert recall(fit_pca(x[:2000], 256)) >= recall(identity(384)) - 0.01
