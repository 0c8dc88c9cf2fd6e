"""Search when other parts fail: words, exact vectors where there is one for the question, nothing else."""

from __future__ import annotations

import numpy as np

from ruvllm.config import RetrievalConfig
from ruvllm.memory.filters import condition_of
from ruvllm.memory.keywords import Keywords
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.rows import SEARCHED, fetch_nodes
from ruvllm.memory.search import fuse
from ruvllm.memory.store import Store
from ruvllm.types import Filter, Hit, Hits

__all__ = ["plain_search"]


def plain_search(
    store: Store,
    keywords: Keywords,
    nearest: Nearest,
    namespace: str,
    query: str,
    vector: np.ndarray | None,
    k: int,
    *,
    filter: Filter | None,
    config: RetrievalConfig,
) -> Hits:
    """Return the `k` best of what everybody searches, by reciprocal rank fusion, times trust.

    Args:
        vector: (dim,) float32, unit length, projected; by words alone when None.
    """
    among = None if filter is None else _passing(store, namespace, filter)
    count = max(k, config.candidates)
    relevance = keywords.search(query, count, among=among)
    similarity: dict[int, float] = {}
    if vector is not None:
        ids, cosines = nearest.load().search(vector, count, among=among)
        similarity = dict(zip(ids.tolist(), cosines.tolist(), strict=True))
    fused = fuse([list(similarity), list(relevance)], config.rrf_k)
    nodes = fetch_nodes(store, fused)
    rank = {node: place for place, node in enumerate(relevance, start=1)}
    hits = [Hit(node, fused[i] * node.trust, similarity.get(i), rank.get(i)) for i, node in nodes.items()]
    best = sorted((hit for hit in hits if hit.score > 0.0), key=lambda hit: (-hit.score, hit.node.id))
    return Hits(best[:k])


def _passing(store: Store, namespace: str, filter: Filter) -> np.ndarray:
    condition, parameters = condition_of(filter)
    sql = f"SELECT id FROM nodes WHERE namespace = ? AND {SEARCHED} AND {condition} ORDER BY id"
    return np.array([row[0] for row in store.rows(sql, (namespace, *parameters))], np.int64)
