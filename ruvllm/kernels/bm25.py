"""BM25 ranking over documents that come and go."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["Bm25"]

Ids = npt.NDArray[np.int64]
Terms = npt.NDArray[np.uint64]
Scores = npt.NDArray[np.float32]


class Bm25:
    """An inverted index in memory. A document is an id and its terms: 64-bit hashes, with repeats, in any order.

    The score of a document is the sum over the terms of the query, a term that stands there twice counting twice, of
        idf * tf (k1 + 1) / (tf + k1 (1 - b + b length / average length)),  idf = log(1 + (N - df + 0.5) / (df + 0.5))
    where N, df and the average length are those of the documents that are in the index at that moment. It is computed
    in float32 and the same, bit for bit, whatever is pruned or filtered, on every instruction set.

    Several threads may use one index: searches run side by side, changes one after another. Documents number at most
    16,777,216 (removed ones count until the next compaction, which comes by itself).

    Args:
        k1: how slowly repeats of a term saturate, in [0, 1000]; 0 counts a term once.
        b: how much long documents are discounted, in [0, 1].

    Raises:
        ValueError: k1 or b is out of range or a NaN.

    Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with the idf of
    Lucene, which is never negative.
    """

    def __init__(self, *, k1: float = 1.2, b: float = 0.75) -> None:
        self._index = core.Bm25(k1, b)

    def __len__(self) -> int:
        return self._index.size()[0]

    @property
    def num_postings(self) -> int:
        """How many pairs of a document and one of its terms there are."""
        return self._index.size()[1]

    @property
    def nbytes(self) -> int:
        """How much memory the index takes, in bytes."""
        return self._index.size()[2]

    def ids(self) -> Ids:
        """Return the ids of all documents, (n,) int64, ascending."""
        return self._index.ids()

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Return for each of `ids`, (n,) int64, whether it is in the index, (n,) bool."""
        return self._index.contains(ids)

    def add(self, ids: Ids, terms: Terms, indptr: Ids) -> None:
        """Add documents. A search that runs beside it may see some of them.

        Args:
            ids: (n,) int64, none of them in the index, no two the same.
            terms: (m,) uint64, the terms of all documents, one document after another.
            indptr: (n + 1,) int64, ascending from 0 to m: document i has terms[indptr[i] : indptr[i + 1]].

        Raises:
            TypeError: an argument is not an array.
            ValueError: a wrong dtype, shape or order; an id that is there already or twice. Nothing is added.
        """
        self._index.add(ids, terms, indptr)

    def remove(self, ids: Ids) -> None:
        """Remove documents; scores are those of an index that never held them, at once.

        Raises:
            ValueError: an id that is not there, or twice. Nothing is removed.
        """
        self._index.remove(ids)

    def search(self, query: Terms, k: int, *, among: Ids | None = None) -> tuple[Ids, Scores]:
        """Return ids (k',) and scores (k',) float32 of the best documents that hold a term of the query, best first.

        Of equal scores the lower id comes first; k' < k when fewer documents hold a term.

        Args:
            query: (q,) uint64; without terms it finds nothing.
            k: documents wanted, >= 1.
            among: (m,) int64 in any order, the only ids that may come back; all when None.

        Raises:
            TypeError, ValueError: a wrong type, dtype or shape; k below 1.
        """
        return self._index.search(query, k, among)

    def scores_of(self, query: Terms, terms: Terms, indptr: Ids) -> Scores:
        """Return the scores (n,) float32 that documents outside the index have under its statistics.

        The documents are given as in `add`; one without a term of the query scores 0. A term that no document of the
        index holds is the rarest there can be: its df is 0.
        """
        return self._index.scores_of(query, terms, indptr)

    def snapshot(self) -> bytes:
        """Return the documents as bytes that `restore` reads; k1 and b are not part of them."""
        return self._index.snapshot()

    @classmethod
    def restore(cls, snapshot: bytes, *, k1: float = 1.2, b: float = 0.75) -> Self:
        """Return the index whose documents these are.

        Raises:
            ValueError: the snapshot is damaged, or something else.
        """
        index = cls(k1=k1, b=b)
        index._index.restore(snapshot)
        return index
