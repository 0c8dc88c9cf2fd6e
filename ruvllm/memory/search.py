"""Hybrid search: vectors and keywords, fused by reciprocal rank; a session's own answers on probation come along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ruvllm.config import RetrievalConfig
from ruvllm.memory.filters import condition_of
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.rows import fetch_nodes, vector_of
from ruvllm.memory.store import Store
from ruvllm.text import STOP_WORDS
from ruvllm.types import Filter, Hit

__all__ = ["HybridSearch", "fuse", "keyword_query"]

MAX_TERMS = 48  # of a long question; each term costs a walk over its postings
MAX_SESSION_NODES = 2048  # newest on probation that are searched within their session

VISIBLE = (
    "nodes.namespace = ? AND nodes.tier = 'hot' AND (nodes.probation = 0 OR nodes.session IS NOT NULL AND "
    "nodes.session = ? AND (nodes.type <> 'Query' OR ?))"
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


def keyword_query(text: str) -> str:
    """Return an FTS5 query that any of the words of `text` satisfies; "" when there is no word in it.

    English stop words are left out unless there is nothing else. Words are quoted, so no text is a syntax error.
    """
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", text.lower())))
    content = [word for word in words if word not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in content[:MAX_TERMS])


class HybridSearch:
    """Searches one namespace; holds no state of its own."""

    def __init__(self, store: Store, nearest: Nearest, namespace: str, config: RetrievalConfig) -> None:
        self._store = store
        self._nearest = nearest
        self._namespace = namespace
        self._config = config

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
        similarity = self._vector_ranking(vector, candidates, condition if filter else None)
        if session is not None:
            similarity |= self._session_ranking(native, visible)
        by_vector = sorted(similarity, key=lambda i: (-similarity[i], i))[:candidates]
        by_keyword = self._keyword_ranking(query, candidates, visible)
        scores = fuse([by_vector, by_keyword], self._config.rrf_k)
        for node_id, trust in self._trust(scores):
            scores[node_id] *= trust
        best = sorted(scores, key=lambda i: (-scores[i], i))[:k]
        nodes = fetch_nodes(self._store, best)
        similarity |= self._missing_similarities(native, vector, [i for i in best if i not in similarity])
        keyword_rank = {node_id: rank for rank, node_id in enumerate(by_keyword, start=1)}
        return [
            Hit(nodes[i], scores[i], similarity.get(i), keyword_rank.get(i))
            for i in best
            if i in nodes  # not deleted since
        ]

    def _trust(self, ids: Iterable[int]) -> list[tuple[Any, ...]]:
        sql = "SELECT id, trust FROM nodes WHERE trust <> 1.0 AND id IN (SELECT value FROM json_each(?))"
        return self._store.rows(sql, (json.dumps(list(ids)),))

    def _vector_ranking(self, vector: np.ndarray, k: int, condition: tuple[str, list[Any]] | None) -> dict[int, float]:
        among = None
        if condition is not None:
            sql = f"SELECT id FROM nodes WHERE namespace = ? AND probation = 0 AND tier = 'hot' AND {condition[0]}"
            among = np.array([row[0] for row in self._store.rows(sql, (self._namespace, *condition[1]))], np.int64)
        ids, cosines = self._nearest.search(vector, k, among=among)
        return dict(zip(ids.tolist(), cosines.tolist(), strict=True))

    def _session_ranking(self, native: np.ndarray, visible: tuple[str, list[Any]]) -> dict[int, float]:
        """Return the cosine of every visible node on probation."""
        rows = self._store.rows(
            f"SELECT node, vector FROM nodes JOIN vectors ON node = id WHERE {visible[0]} AND probation = 1 "
            "ORDER BY id DESC LIMIT ?",
            (*visible[1], MAX_SESSION_NODES),
        )
        return _cosines(native, rows)

    def _keyword_ranking(self, query: str, k: int, visible: tuple[str, list[Any]]) -> list[int]:
        terms = keyword_query(query)
        if not terms:
            return []
        sql = (
            "SELECT keywords.rowid FROM keywords JOIN nodes ON nodes.id = keywords.rowid "
            f"WHERE keywords MATCH ? AND {visible[0]} ORDER BY rank LIMIT ?"
        )
        return [row[0] for row in self._store.rows(sql, (terms, *visible[1], k))]

    def _missing_similarities(self, native: np.ndarray, vector: np.ndarray, ids: Iterable[int]) -> Mapping[int, float]:
        """Return cosines for what only the keywords found; nodes on probation are looked up in the database."""
        known = self._nearest.cosines(vector, ids)
        unknown = [node_id for node_id in ids if node_id not in known]
        marks = ", ".join("?" * len(unknown))
        rows = self._store.rows(f"SELECT node, vector FROM vectors WHERE node IN ({marks})", unknown) if unknown else []
        return known | _cosines(native, rows)


def _cosines(native: np.ndarray, rows: Iterable[tuple[int, bytes]]) -> dict[int, float]:
    return {i: float(vector_of(blob) @ native) for i, blob in rows if len(blob) == 4 * len(native)}
