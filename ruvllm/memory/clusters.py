"""Clusters: communities of a graph of affinities, as many and as small as it takes for each to be dense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Cluster", "Pairs", "find_clusters"]

NODES_PER_RESOLUTION = (
    1000  # modularity's resolution grows with the graph: communities keep their size, not their share
)
RANDOMNESS = 0.001
MAX_DIVISIONS = 4  # of a community that is not dense, and of its parts

Vectors = Callable[[np.ndarray], np.ndarray]
"""(m,) int64 places -> (m, dim) float32 unit vectors."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes that belong together.

    Attributes:
        nodes: their ids, the most central first.
        density: mean affinity of two of them, in [-1, 1].
        centroid: (dim,) float32, unit length.
    """

    nodes: tuple[int, ...]
    density: float
    centroid: np.ndarray

    def __len__(self) -> int:
        return len(self.nodes)


@dataclass(frozen=True, slots=True)
class Pairs:
    """How close pairs of nodes are, each pair once: places a < b, (m,) int64, and affinities in (0, 1], (m,) float32.

    `is_given` says of which the affinity is more than the cosine of the two: edges, and what is found together.
    """

    a: np.ndarray
    b: np.ndarray
    affinity: np.ndarray
    is_given: np.ndarray

    def within(self, places: np.ndarray) -> Pairs:
        """Return the pairs among some places, ascending, by their rows in it."""
        a, b = np.searchsorted(places, self.a), np.searchsorted(places, self.b)
        last = len(places) - 1
        inside = (places[np.minimum(a, last)] == self.a) & (places[np.minimum(b, last)] == self.b)
        return Pairs(a[inside], b[inside], self.affinity[inside], self.is_given[inside])


def find_clusters(
    ids: np.ndarray,
    pairs: Pairs,
    vectors: Vectors,
    *,
    min_size: int,
    min_density: float,
    seed: int = 0,
    must_stop: Callable[[], bool] = lambda: False,
) -> list[Cluster]:
    """Return the clusters, largest first; the same for the same seed. Empty when it was stopped.

    Communities come from Leiden (Traag, Waltman and van Eck 2019) by modularity. One that is less dense than wanted is
    divided again, by its own pairs alone, and what stays loose or small is no cluster.

    Args:
        ids: (n,) int64 of the nodes; places in `pairs` count in it.
        min_size: >= 2, nodes of a cluster.
        min_density: in [0, 1], mean affinity of two of its nodes: the larger of what their pair has and their cosine.
    """
    found: list[Cluster] = []
    waiting = [(places, 1) for places in _communities(np.arange(len(ids)), pairs, seed)]
    while waiting:
        if must_stop():
            return []
        places, divisions = waiting.pop()
        if len(places) < min_size:
            continue
        own = pairs.within(places)
        rows = vectors(places)
        centroid, density = rows.sum(axis=0), _density(rows, own)
        if density >= min_density:
            central = places[np.argsort(-(rows @ centroid), kind="stable")]
            unit = (centroid / max(float(np.linalg.norm(centroid)), 1e-6)).astype(np.float32)
            found.append(Cluster(tuple(ids[central].tolist()), float(density), unit))
        elif divisions <= MAX_DIVISIONS:
            parts = _communities(places, own, seed)
            waiting += [(part, divisions + 1) for part in parts if len(part) < len(places)]
    return sorted(found, key=lambda cluster: (-len(cluster), cluster.nodes))


def _communities(places: np.ndarray, pairs: Pairs, seed: int) -> list[np.ndarray]:
    """Return the places of each community, ascending; nodes without a pair are in none."""
    if not len(pairs.a):
        return []
    from graspologic_native import leiden

    names = [str(row) for row in range(len(places))]
    edges = [(names[a], names[b], w) for a, b, w in zip(pairs.a, pairs.b, pairs.affinity.tolist(), strict=True)]
    resolution = max(1.0, len(places) / NODES_PER_RESOLUTION)
    _, community_of = leiden(
        edges,
        starting_communities=None,
        resolution=resolution,
        randomness=RANDOMNESS,
        iterations=2,
        use_modularity=True,
        seed=seed,
        trials=1,
    )
    rows = np.array([int(name) for name in community_of], np.int64)
    labels = np.array(list(community_of.values()), np.int64)
    order = np.lexsort((rows, labels))
    ends = np.flatnonzero(np.diff(labels[order])) + 1
    return [places[part] for part in np.split(rows[order], ends)]


def _density(vectors: np.ndarray, pairs: Pairs) -> float:
    """Return the mean affinity of all pairs of rows: sum of all cosines by one product, and what given pairs add."""
    n = len(vectors)
    total = vectors.sum(axis=0)
    cosines = float(total @ total) - float(np.einsum("ij,ij->", vectors, vectors))
    given = pairs.is_given
    between = np.einsum("ij,ij->i", vectors[pairs.a[given]], vectors[pairs.b[given]])
    more = float(np.maximum(pairs.affinity[given] - between, 0.0).sum())
    return (cosines + 2.0 * more) / (n * (n - 1))
