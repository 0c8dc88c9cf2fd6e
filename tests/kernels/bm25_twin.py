"""A plain Python twin of the BM25 index, and the corpora that its tests share."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from ruvllm.kernels import Bm25

EPS = float(np.finfo(np.float32).eps)


class Twin:
    """The textbook, in float64."""

    def __init__(self, k1: float = 1.2, b: float = 0.75) -> None:
        self.k1, self.b = k1, b
        self.documents: dict[int, list[int]] = {}

    def scores(self, query: Sequence[int], outside: Sequence[Sequence[int]] | None = None) -> np.ndarray:
        """Return the score of every document, or of documents outside the index."""
        n, inside = len(self.documents), Counts(list(self.documents.values()))
        asked = inside if outside is None else Counts(outside)
        average = float(inside.lengths.sum()) / max(n, 1)
        norms = self.k1 * (1 - self.b + self.b * (asked.lengths / average if average else 0.0 * asked.lengths))
        scores = np.zeros(len(asked.lengths))
        for term in query:
            df = np.count_nonzero(inside.of(term))
            idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
            tf = asked.of(term)
            scores += np.where(tf > 0, idf * tf * (self.k1 + 1) / np.where(tf > 0, tf + norms, 1.0), 0.0)
        return scores


class Counts:
    """How often terms stand in documents."""

    def __init__(self, documents: Sequence[Sequence[int]]) -> None:
        self.terms, indptr = csr(documents)
        self.lengths = np.diff(indptr)
        self.documents = np.repeat(np.arange(len(documents)), self.lengths)

    def of(self, term: int) -> np.ndarray:
        return np.bincount(self.documents[self.terms == np.uint64(term)], minlength=len(self.lengths))


def as_terms(terms: Iterable[int]) -> np.ndarray:
    return np.array(list(terms), dtype=np.uint64)


def csr(documents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    return as_terms(term for document in documents for term in document), indptr


def add(index: Bm25, documents: dict[int, list[int]]) -> None:
    index.add(np.array(list(documents), dtype=np.int64), *csr(list(documents.values())))


def remove(index: Bm25, ids: Iterable[int]) -> None:
    index.remove(np.array(list(ids), dtype=np.int64))


def assert_equal(index: Bm25, twin: Twin, query: Sequence[int], among: Sequence[int] | None = None) -> None:
    """All that holds a term comes back with the textbook's score; fewer wanted are the first of these."""
    kept = None if among is None else np.array(among, dtype=np.int64)
    ids, scores = index.search(as_terms(query), 10**9, among=kept)
    allowed = None if among is None else set(among)
    truth = {
        id_: score
        for id_, score in zip(twin.documents, twin.scores(query).tolist(), strict=True)
        if score > 0 and (allowed is None or id_ in allowed)
    }
    assert sorted(ids.tolist()) == sorted(truth)
    # n rounded terms and their rounded sum: (n + 4) eps each, the terms being positive
    expected = np.array([truth[i] for i in ids.tolist()])
    assert np.all(np.abs(scores - expected) <= (len(query) + 4) * EPS * expected)
    assert sorted(zip(-scores, ids, strict=True)) == list(zip(-scores, ids, strict=True))  # ties by the lower id
    for k in (1, 2, 7, 20):
        first_ids, first_scores = index.search(as_terms(query), k, among=kept)
        np.testing.assert_array_equal(first_ids, ids[:k])
        np.testing.assert_array_equal(first_scores, scores[:k])


@functools.cache
def zipf_documents(n: int, seed: int, *, words: int = 30, vocabulary: int = 3000) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, vocabulary + 1)
    lengths = rng.integers(0, 2 * words, n)
    terms = rng.choice(vocabulary, lengths.sum(), p=weights / weights.sum())
    return [document.tolist() for document in np.split(terms, np.cumsum(lengths)[:-1])]


@functools.cache
def grown_index() -> tuple[Bm25, Twin]:
    """Return several windows, lists and frequent terms, removed documents, ids not in the order of adding.

    It is made once: tests leave it as it is.
    """
    documents = zipf_documents(6000, 0)
    ids = np.random.default_rng(0).permutation(20_000)[:6000].tolist()
    index, twin = Bm25(), Twin()
    twin.documents = dict(zip(ids, documents, strict=True))
    for start in range(0, 6000, 1500):
        add(index, {i: twin.documents[i] for i in ids[start : start + 1500]})
    gone = ids[::5][:900]  # too few for a compaction
    remove(index, gone)
    for i in gone:
        del twin.documents[i]
    back = {i: [2 * term for term in documents[j]] for j, i in enumerate(gone[:100])}  # re-added, and they changed
    add(index, back)
    twin.documents |= back
    return index, twin


QUERIES = ([0], [0, 1, 2, 3, 5], [0, 1, 700, 2500], [2999], [100, 100, 40, 0], [10**12], [1, 9, 80, 300, 301, 302])
