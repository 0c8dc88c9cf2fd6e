"""Other ways to cluster, and what their clusters are worth."""

from __future__ import annotations

import numpy as np

from ruvllm.bench.timing import peer

__all__ = ["others", "purity"]

HDBSCAN_ROWS = 5_000  # it compares all pairs


def purity(clusters: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of the texts, (n,), whose label is the most frequent one of their cluster."""
    if not len(clusters):
        return 0.0
    _, of_cluster = np.unique(clusters, return_inverse=True)
    names, of_label = np.unique(labels, return_inverse=True)
    counts = np.zeros((of_cluster.max() + 1, len(names)), np.int64)
    np.add.at(counts, (of_cluster, of_label), 1)
    return float(counts.max(axis=1).sum() / len(clusters))


def others(vectors: np.ndarray, num_clusters: int, min_size: int, seed: int) -> dict[str, np.ndarray]:
    """Return who clustered -> (n,) cluster of each row of `vectors`, -1 for none; missing peers are left out.

    Args:
        num_clusters: of k-means: as many as ours, since purity rises with their number.
    """
    if peer("sklearn") is None:
        return {}
    from sklearn.cluster import HDBSCAN, MiniBatchKMeans

    means = MiniBatchKMeans(num_clusters, random_state=seed, n_init=3).fit_predict(vectors)
    found = {"k-means": means}
    if len(vectors) <= HDBSCAN_ROWS:
        found["HDBSCAN"] = HDBSCAN(min_cluster_size=max(min_size, 2), copy=True).fit_predict(vectors)
    return found
