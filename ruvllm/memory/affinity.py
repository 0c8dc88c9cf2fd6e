"""How close the nodes of a namespace are to each other: by meaning, by links, and by being found together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ruvllm.kernels import exact_search
from ruvllm.memory.clusters import Pairs
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.store import Store
from ruvllm.types import EdgeType

__all__ = ["among_few", "read_pairs"]

NEIGHBOURS = 15  # nearest of each node; those that have each other among theirs are a pair
MIN_COSINE = 0.3
BATCH_NODES = 256  # looked up between two looks at whether to stop: some 50 ms
READ_NODES = 4096  # whose edges are read from the database at a time
MIN_TOGETHER = 2  # searches that found two nodes together; one is chance

STRUCTURE = (EdgeType.FOLLOWS, EdgeType.CONTAINS, EdgeType.DERIVED)  # order and origin, not likeness

LINKED = (
    "SELECT src, dst, max(weight) FROM edges WHERE src >= ? AND src < ? AND src <> dst AND ended IS NULL "
    f"AND type NOT IN ({', '.join(repr(type_.value) for type_ in STRUCTURE)}) GROUP BY src, dst"
)
TOGETHER = (
    "SELECT a.id, b.id, min(1.0, count / sqrt(1.0 * max(a.use_count, count) * max(b.use_count, count))) "
    "FROM co_retrievals JOIN nodes a ON a.id = co_retrievals.a JOIN nodes b ON b.id = co_retrievals.b "
    f"WHERE co_retrievals.a >= ? AND co_retrievals.a < ? AND count >= {MIN_TOGETHER}"
)


def read_pairs(store: Store, nearest: Nearest, ids: np.ndarray, must_stop: Callable[[], bool]) -> Pairs | None:
    """Return the pairs among `ids`, (n,) int64 ascending, of searched nodes; None when it was stopped."""
    near = mutual_neighbours(nearest, ids, must_stop)
    given = given_pairs(store, ids, must_stop)
    if near is None or given is None:
        return None
    return joined([*near, np.zeros(len(near[0]), np.bool_)], [*given, np.ones(len(given[0]), np.bool_)])


def joined(near: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> Pairs:
    """Return both lists of columns (a, b, affinity, is_given) as one, of a pair in both the larger affinity."""
    a, b, affinity, is_given = (np.concatenate(columns) for columns in zip(near, given, strict=True))
    order = np.lexsort((-affinity, b, a))
    a, b, affinity, is_given = a[order], b[order], affinity[order], is_given[order]
    is_first = np.ones(len(a), np.bool_)
    is_first[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return Pairs(a[is_first], b[is_first], affinity[is_first].astype(np.float32), is_given[is_first])


def mutual_neighbours(
    nearest: Nearest, ids: np.ndarray, must_stop: Callable[[], bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return places a < b and cosines of the nodes that are among the nearest of each other; None when stopped."""
    parts = []
    for start in range(0, len(ids), BATCH_NODES):
        if must_stop():
            return None
        known, vectors = nearest.vectors(ids[start : start + BATCH_NODES])
        if not len(known):
            continue
        found, cosines = nearest.search_batch(vectors, NEIGHBOURS + 1)
        place = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
        own = np.broadcast_to((start + known)[:, np.newaxis], found.shape)
        wanted = (ids[place] == found) & (place != own) & (cosines >= MIN_COSINE)
        parts.append((own[wanted], place[wanted], cosines[wanted]))
    return _mutual(parts, len(ids))


def given_pairs(
    store: Store, ids: np.ndarray, must_stop: Callable[[], bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return places a < b and affinities of nodes that are linked, or were found together; None when stopped.

    Of an edge that is its weight. Of being found together it is the number of times over the geometric mean of how
    often each of the two was found.
    """
    parts = [np.empty((0, 3))]
    for start in range(0, int(ids.max(initial=0)) + 1, READ_NODES):
        if must_stop():
            return None
        for sql in (LINKED, TOGETHER):
            rows: list[tuple[Any, ...]] = store.rows(sql, (start, start + READ_NODES))
            if rows:
                parts.append(np.array(rows, np.float64))
    ends = np.concatenate(parts)
    src, dst = (ends[:, i].astype(np.int64) for i in (0, 1))
    last = max(len(ids) - 1, 0)
    a, b = (np.minimum(np.searchsorted(ids, end), last) for end in (src, dst))
    inside = (ids[a] == src) & (ids[b] == dst) & (ends[:, 2] > 0.0) if len(ids) else np.zeros(len(src), np.bool_)
    a, b = a[inside], b[inside]
    return np.minimum(a, b), np.maximum(a, b), ends[inside, 2].astype(np.float32)


def among_few(nearest: Nearest, ids: np.ndarray, must_stop: Callable[[], bool]) -> Pairs | None:
    """Return the mutual neighbours among `ids`, (n,) int64 ascending, and nobody else; None when it was stopped."""
    known, vectors = nearest.vectors(ids)
    parts = []
    for start in range(0, len(known), BATCH_NODES):
        if must_stop():
            return None
        rows, cosines = exact_search(vectors, vectors[start : start + BATCH_NODES], min(NEIGHBOURS + 1, len(known)))
        own = np.broadcast_to(np.arange(start, start + len(rows))[:, np.newaxis], rows.shape)
        wanted = (rows != own) & (cosines >= MIN_COSINE)
        parts.append((known[own[wanted]], known[rows[wanted]], cosines[wanted]))
    near = _mutual(parts, len(ids))
    return joined([*near, np.zeros(len(near[0]), np.bool_)], [*_mutual([], 1), np.zeros(0, np.bool_)])


def _mutual(parts: Sequence[tuple[np.ndarray, ...]], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of directed pairs of places below `n` those that are there both ways, once, a < b."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    src, dst, cosines = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    is_mutual = np.isin(src * n + dst, dst * n + src) & (src < dst)
    return src[is_mutual], dst[is_mutual], cosines[is_mutual]
