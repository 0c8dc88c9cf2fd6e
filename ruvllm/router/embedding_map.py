"""Where a vector lies among the brain's own: principal components and clusters, fitted once and then frozen."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt

__all__ = ["NUM_CLUSTERS", "NUM_COMPONENTS", "EmbeddingMap"]

Floats = npt.NDArray[np.float32]

NUM_COMPONENTS: Final = 20
NUM_CLUSTERS: Final = 6
ITERATIONS: Final = 20  # of k-means
MAX_FITTED: Final = 20_000  # vectors; more move no component


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Frozen: features mean the same as long as the version is the same.

    Attributes:
        mean: (dim,) float32, of the unit vectors it was fitted on.
        components: (20, dim) float32: principal axes, each divided by the standard deviation along it, so that
            coordinates have variance 1 on those vectors. Zero where they span fewer dimensions.
        centres: (6, dim) float32 unit rows, by spherical k-means.
    """

    mean: Floats
    components: Floats
    centres: Floats

    @classmethod
    def fit(cls, vectors: Floats, rng: np.random.Generator) -> Self:
        """Return the map of (n, dim) unit vectors, n >= 1.

        Raises:
            ValueError: there is no vector, or one is not finite or zero.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"vectors must be (n, dim) with n >= 1 ({vectors.shape})")
        if len(vectors) > MAX_FITTED:
            vectors = vectors[np.sort(rng.permutation(len(vectors))[:MAX_FITTED])]
        unit = _unit_rows(vectors)
        mean = unit.mean(axis=0)
        return cls(mean, _components(unit - mean), _centres(unit, rng))

    @property
    def dim(self) -> int:
        """Dimensions of the vectors it places."""
        return len(self.mean)

    @cached_property
    def version(self) -> str:
        """Return 16 hexadecimal digits that differ between maps."""
        return hashlib.sha256(self.to_array().astype("<f4").tobytes()).hexdigest()[:16]

    @cached_property
    def _direction(self) -> Floats:
        """Return the mean as a unit vector, (dim,); zeros where it is zero."""
        return np.asarray(self.mean / max(float(np.linalg.norm(self.mean)), 1e-12))

    def place(self, vectors: Floats) -> Floats:
        """Return what is known of (n, dim) vectors, (n, 28): coordinates, typicality, entropy, similarities.

        The 20 coordinates, the cosine to the mean (how typical: small for what the brain knows nothing of), the
        entropy of the squared entries relative to that of equal ones, and the cosines to the 6 centres.

        Raises:
            ValueError: another number of dimensions; a NaN, an infinity or a zero vector.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"vector must have {self.dim} dimensions (shape {vectors.shape[1:]})")
        unit = _unit_rows(vectors)
        typical = unit @ self._direction
        share = np.square(unit)
        entropy = -(share * np.log(share + 1e-12)).sum(axis=1) / max(math.log(self.dim), 1e-12)
        coordinates = (unit - self.mean) @ self.components.T
        columns = (coordinates, typical[:, np.newaxis], entropy[:, np.newaxis], unit @ self.centres.T)
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def to_array(self) -> Floats:
        """Return it as a flat float32 array for a checkpoint."""
        return np.concatenate([self.mean, self.components.ravel(), self.centres.ravel()])

    @classmethod
    def from_array(cls, flat: Floats) -> Self:
        """Return the map that `to_array` wrote.

        Raises:
            ValueError: the array has another length or dtype, or holds a NaN.
        """
        rows = 1 + NUM_COMPONENTS + NUM_CLUSTERS
        if flat.ndim != 1 or flat.dtype != np.float32 or not flat.size or flat.size % rows:
            raise ValueError(f"flat must be ({rows} * dim,) float32 ({flat.shape} {flat.dtype})")
        if not np.isfinite(flat).all():
            raise ValueError("flat holds a NaN or an infinity")
        table = flat.reshape(rows, -1).copy()
        return cls(table[0], table[1 : 1 + NUM_COMPONENTS], table[1 + NUM_COMPONENTS :])


def _components(centred: Floats) -> Floats:
    """Return the (20, dim) whitened principal axes; the largest entry of each is positive."""
    dim = centred.shape[1]
    covariance = centred.T.astype(np.float64) @ centred / len(centred)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1][:NUM_COMPONENTS], axes.T[::-1][:NUM_COMPONENTS]
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1))
    is_spanned = variances > 1e-8
    scale = np.where(is_spanned, 1.0 / np.sqrt(np.where(is_spanned, variances, 1.0)), 0.0)
    components = np.zeros((NUM_COMPONENTS, dim), np.float32)
    components[: len(axes)] = axes * signs * scale[:, np.newaxis]
    return components


def _centres(unit: Floats, rng: np.random.Generator) -> Floats:
    """Return the (6, dim) unit centres; some are equal where there are fewer vectors."""
    centres = unit[np.resize(rng.permutation(len(unit)), NUM_CLUSTERS)].copy()
    for _ in range(ITERATIONS):
        cluster_of = np.argmax(unit @ centres.T, axis=1)
        for cluster in range(NUM_CLUSTERS):
            total = unit[cluster_of == cluster].sum(axis=0)
            norm = float(np.linalg.norm(total))
            if norm > 1e-6:
                centres[cluster] = total / norm
    return centres


def _unit_rows(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0.0).all()):
        raise ValueError("vector holds a NaN or an infinity, or is zero")
    return np.asarray(vectors / norms, np.float32)
