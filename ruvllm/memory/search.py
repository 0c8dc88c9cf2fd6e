"""Hybrid search: vectors and keywords fused by reciprocal rank, then spread along links; a session's own nodes too."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ruvllm.config import RetrievalConfig
from ruvllm.memory.filters import PassingIds, condition_of
from ruvllm.memory.keywords import Keywords
from ruvllm.memory.links import Links
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.rows import fetch_nodes, vector_of
from ruvllm.memory.store import Store
from ruvllm.types import Filter, Hit

__all__ = ["HybridSearch", "fuse"]

MAX_SESSION_NODES = 2048  # newest on probation that are searched within their session

VISIBLE = (
    "nodes.namespace = ? AND nodes.tier = 'hot' AND nodes.ended IS NULL AND (nodes.probation = 0 OR "
    "nodes.session IS NOT NULL AND nodes.session = ? AND (nodes.type <> 'Query' OR ?))"
)


def fuse(rankings: Iterable[Sequence[int]], rrf_k: int) -> dict[int, float]:
    """Return each id's fused score: the sum over rankings of 1 / (rrf_k + rank), ranks from 1.

    Source: Cormack, Clarke and Buettcher 2009, reciprocal rank fusion.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, node_id in enumerate(ranking, start=1):
            scores[node_id] = scores.get(node_id, 0.0) + 1.0 / (rrf_k + rank)
    return scores


class HybridSearch:
    """Searches one namespace; holds no state of its own but what filters let through."""

    def __init__(
        self,
        store: Store,
        nearest: Nearest,
        keywords: Keywords,
        links: Links,
        namespace: str,
        config: RetrievalConfig,
    ) -> None:
        self._store = store
        self._nearest = nearest
        self._keywords = keywords
        self._links = links
        self._namespace = namespace
        self._config = config
        self._passing = PassingIds(store, namespace)

    def search(
        self,
        query: str,
        native: np.ndarray,
        vector: np.ndarray,
        k: int,
        *,
        filter: Filter | None,
        session: str | None,
    ) -> list[Hit]:
        """Return the `k` best hits; `native` and `vector` are the query's unit vector before and after projection."""
        candidates = max(k, self._config.candidates)
        condition = condition_of(filter) if filter else ("1", [])
        wants_queries = filter is not None and "type" in filter
        visible = (f"{VISIBLE} AND {condition[0]}", [self._namespace, session, wants_queries, *condition[1]])
        among = self._passing.ids_of(condition) if filter else None
        ids, cosines = self._nearest.search(vector, candidates, among=among)
        similarity = dict(zip(ids.tolist(), cosines.tolist(), strict=True))
        relevance = self._keywords.search(query, candidates, among=among)
        if session is not None:
            own = self._on_probation(visible)
            similarity |= _cosines(native, ((node_id, vector) for node_id, _, _, vector in own))
            relevance |= self._keywords.scores_of(query, (node[:3] for node in own))
        by_vector, by_keyword = _best(similarity, candidates), _best(relevance, candidates)
        scores = self._spread(fuse([by_vector, by_keyword], self._config.rrf_k), k, among)
        best = _best(scores, k)
        nodes = fetch_nodes(self._store, best)
        similarity |= self._missing_similarities(native, vector, [i for i in best if i not in similarity])
        keyword_rank = {node_id: rank for rank, node_id in enumerate(by_keyword, start=1)}
        return [
            Hit(nodes[i], scores[i], similarity.get(i), keyword_rank.get(i))
            for i in best
            if i in nodes  # not deleted since
        ]

    def _spread(self, fused: Mapping[int, float], k: int, among: np.ndarray | None) -> dict[int, float]:
        """Return scores by rank once each node has passed a part on along its links; trust weighs before and after."""
        trust = self._trusts(fused)
        weighed = {i: score * trust.get(i, 1.0) for i, score in fused.items()}
        ranking = _best(weighed, len(weighed))
        spread = self._links.spread(
            {i: 1.0 / (rank + 2) if weighed[i] > 0.0 else 0.0 for rank, i in enumerate(ranking)}
        )
        scores = {i: spread[i] * trust.get(i, 1.0) for i in ranking}
        least = heapq.nlargest(k, scores.values())[-1] if len(scores) >= k else 0.0
        found = [i for i, score in spread.items() if score > least and i not in scores]
        if among is not None:
            found = [i for i, passes in zip(found, np.isin(found, among), strict=True) if passes]
        trust = self._trusts(found)
        return scores | {i: spread[i] * trust.get(i, 1.0) for i in found}

    def _trusts(self, ids: Iterable[int]) -> dict[int, float]:
        """Return the trust, in [0, 1], of those nodes that are not fully trusted."""
        sql = "SELECT id, trust FROM nodes WHERE trust <> 1.0 AND id IN (SELECT value FROM json_each(?))"
        wanted = list(ids)
        return dict(self._store.rows(sql, (json.dumps(wanted),))) if wanted else {}

    def _on_probation(self, visible: tuple[str, list[Any]]) -> list[tuple[Any, ...]]:
        """Return (id, text, metadata, vector) of the visible nodes on probation, the newest first."""
        return self._store.rows(
            "SELECT id, text, metadata, ifnull(vector, x'') FROM nodes LEFT JOIN vectors ON node = id "
            f"WHERE {visible[0]} AND probation = 1 ORDER BY id DESC LIMIT ?",
            (*visible[1], MAX_SESSION_NODES),
        )

    def _missing_similarities(self, native: np.ndarray, vector: np.ndarray, ids: Iterable[int]) -> Mapping[int, float]:
        """Return cosines for what only the keywords found; nodes on probation are looked up in the database."""
        known = self._nearest.cosines(vector, ids)
        unknown = [node_id for node_id in ids if node_id not in known]
        marks = ", ".join("?" * len(unknown))
        rows = self._store.rows(f"SELECT node, vector FROM vectors WHERE node IN ({marks})", unknown) if unknown else []
        return known | _cosines(native, rows)


def _best(scores: Mapping[int, float], k: int) -> list[int]:
    return heapq.nsmallest(k, scores, key=lambda i: (-scores[i], i))


def _cosines(native: np.ndarray, rows: Iterable[tuple[int, bytes]]) -> dict[int, float]:
    return {i: float(vector_of(blob) @ native) for i, blob in rows if len(blob) == 4 * len(native)}
