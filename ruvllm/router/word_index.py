"""Which rows share rare words, and pairs of words, with a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ruvllm.kernels import Bm25
from ruvllm.text import terms

__all__ = ["WordIndex", "word_terms"]

Ids = npt.NDArray[np.int64]
Terms = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

MAX_CHARS: Final = 4096  # of a text that are looked at
MAX_WORDS: Final = 128
BITS: Final = 19  # of a term: 64-bit terms of pairs of words make the index three times as large, and no better
MAX_ASKED: Final = 128  # rarest terms of a text that are searched for: the others change little and cost most
COMMON: Final = 0.1  # share of rows from which on a term is asked only when there are fewer than MIN_ASKED rarer ones
MIN_ASKED: Final = 16
MAX_WALKED: Final = 20_000  # rows that hold one of the terms asked, summed over terms beyond MIN_ASKED: bounds the time
LENGTH_DISCOUNT: Final = 0.9  # b of BM25

_PAIR: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(64 - BITS)


def word_terms(text: str) -> Terms:
    """Return the (n,) uint64 terms below 2^BITS of `text`, with repeats: its first words and pairs of neighbours."""
    words = terms(text[:MAX_CHARS])[:MAX_WORDS]
    pairs = (words[1:] * _PAIR) ^ (words[:-1] >> np.uint64(7))
    return np.concatenate([words, pairs]) >> _SHIFT


class WordIndex:
    """BM25 over words and pairs of words. Several threads may search beside one that changes it."""

    def __init__(self) -> None:
        self._bm25 = Bm25(b=LENGTH_DISCOUNT)
        self._rows_with = np.zeros(1 << BITS, np.float32)  # per term; an estimate once rows were removed

    def __len__(self) -> int:
        return len(self._bm25)

    @property
    def nbytes(self) -> int:
        """How much memory it takes, in bytes."""
        return self._bm25.nbytes + self._rows_with.nbytes

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add texts under the ids `first`, `first` + 1, ..."""
        found = [word_terms(text) for text in texts]
        indptr = np.zeros(len(found) + 1, np.int64)
        np.cumsum([len(one) for one in found], out=indptr[1:])
        self._bm25.add(np.arange(first, first + len(found)), np.concatenate(found), indptr)
        for one in found:
            self._rows_with[np.unique(one)] += 1.0

    def remove(self, ids: Ids) -> None:
        """Remove the texts of these ids."""
        self._rows_with *= 1.0 - len(ids) / max(len(self), 1)
        self._bm25.remove(ids)

    def search(self, text: str, k: int, *, without: int | None = None) -> tuple[Ids, Floats]:
        """Return ids and similarities of the rows most like `text`, best first, at most `k`.

        A similarity is the row's score over that of a row with the very words of `text`: about 1 for a repeated
        question and 0 where nothing is shared.

        Args:
            without: an id that must not come back. How many rows hold a term still counts it.
        """
        found = word_terms(text)
        asked = self._asked(np.unique(found), without is not None)
        if not asked.size:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        ids, scores = self._bm25.search(asked, k if without is None else k + 1)
        own = float(self._bm25.scores_of(asked, found, np.array([0, len(found)]))[0])
        if without is not None:
            keep = ids != without
            ids, scores = ids[keep][:k], scores[keep][:k]
        return ids, scores / np.float32(max(own, 1e-6))

    def _asked(self, unique: Terms, is_own: bool) -> Terms:
        """Return the rarest of the terms that another row has too."""
        rows_with = self._rows_with[unique] - (1.0 if is_own else 0.0)
        order = np.argsort(rows_with, kind="stable")
        order = order[np.searchsorted(rows_with[order], 0.0, side="right") :]
        rows_with = rows_with[order]
        rare = np.searchsorted(rows_with, COMMON * len(self), side="right")
        few = np.searchsorted(np.cumsum(rows_with), MAX_WALKED, side="right")
        return unique[order[: min(max(int(min(rare, few)), MIN_ASKED), MAX_ASKED)]]
