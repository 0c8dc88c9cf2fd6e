"""LinUCB as a floor: a linear bandit over principal components of the embedding, one arm per model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.bench.routers.floors import Router
from ruvllm.bench.routers.table import Floats, Table

__all__ = ["LinUCB", "components", "linucb"]

COMPONENTS = 25  # as ParetoBandit
RIDGE = 1.0
ALPHA = 0.5  # width of the confidence bound


class LinUCB:
    """Disjoint LinUCB.

    Args:
        axes: (d - 1, native_dim) float32, what embeddings are projected on; a constant is added.

    Source: Li et al. 2010, Algorithm 1 (arXiv:1003.0146).
    """

    def __init__(self, axes: Floats, mean: Floats, num_arms: int) -> None:
        self._axes, self._mean = axes, mean
        d = len(axes) + 1
        self._a_inverse = np.stack([np.eye(d) / RIDGE] * num_arms)
        self._b = np.zeros((num_arms, d))

    def context(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """Return (m, d) contexts of embeddings."""
        return np.hstack([(vectors - self._mean) @ self._axes.T, np.ones((len(vectors), 1))]).astype(np.float64)

    def update(self, arm: int, x: npt.NDArray[np.float64], reward: float) -> None:
        """Learn that `arm` earned `reward` in context `x`: A += x x^T by Sherman and Morrison, b += reward x."""
        a_inverse = self._a_inverse[arm]
        ax = a_inverse @ x
        a_inverse -= np.outer(ax, ax) / (1.0 + x @ ax)
        self._b[arm] += reward * x

    def bounds(self, contexts: npt.NDArray[np.float64]) -> Floats:
        """Return (m, T) upper confidence bounds: x^T theta + alpha sqrt(x^T A^-1 x)."""
        theta = np.einsum("tde,te->td", self._a_inverse, self._b)
        width = np.einsum("md,tde,me->mt", contexts, self._a_inverse, contexts)
        return np.asarray(contexts @ theta.T + ALPHA * np.sqrt(width), np.float32)

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) upper confidence bounds."""
        return self.bounds(self.context(questions.outcomes.vectors))


def components(vectors: Floats, count: int) -> tuple[Floats, Floats]:
    """Return (count, native_dim) principal axes, fewer when there are not as many, and the mean."""
    mean = vectors.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(vectors, rowvar=False, dtype=np.float64))  # columns, from little spread to much
    return np.asarray(axes[:, ::-1][:, : min(count, len(vectors) - 1)].T, np.float32), mean


def linucb(train: Table, seed: int) -> Router:
    """Learn from every model's answer to every question, in random order: more than a bandit that sees one of them."""
    axes, mean = components(train.outcomes.vectors, COMPONENTS)
    bandit = LinUCB(axes, mean, len(train.names))
    contexts = bandit.context(train.outcomes.vectors)
    for i in np.random.default_rng(seed).permutation(len(train)):
        for arm, reward in enumerate(train.outcomes.quality[i]):
            bandit.update(arm, contexts[i], float(reward))
    return bandit
