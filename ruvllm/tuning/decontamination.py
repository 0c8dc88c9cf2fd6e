"""What a student is tested on is not what it is trained on: found by shared words, and by meaning."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ruvllm.text import normalized_tokens

__all__ = ["Decontaminator", "Embed"]

NGRAM = 13  # words in a row that two texts do not share by chance (Brown et al. 2020, appendix C)
FEWEST = 4  # words of a text that is looked for within others; shorter ones must be the whole text
MANY, MANY_SHARE = 2, 0.1  # texts that share words in a row which therefore tell nothing: more than both
SIMILARITY = 0.9  # cosine of two questions from which they are the same one in other words
BLOCK = 1024  # rows compared at once

Words = tuple[str, ...]
Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to (n, dim) float32 unit vectors."""


class Decontaminator:
    """Finds texts that must not be trained on.

    What many of them say, such as an instruction that stands before every question, tells nothing.

    Args:
        texts: questions and whatever else a student is tested on; those without a word are passed over.
        embed: the embedder; by words alone when None.
        ngram: words in a row that a text may not share with one of them.
        similarity: cosine from which a question is one of them in other words.
    """

    def __init__(
        self, texts: Iterable[str], embed: Embed | None = None, *, ngram: int = NGRAM, similarity: float = SIMILARITY
    ) -> None:
        if isinstance(texts, str):
            raise TypeError("texts must be an iterable of texts, not a str")
        if ngram < FEWEST:
            raise ValueError(f"ngram must be >= {FEWEST} ({ngram})")
        if not 0.0 < similarity <= 1.0:
            raise ValueError(f"similarity must be in (0, 1] ({similarity})")
        self.texts = tuple(sorted({text for text in texts if normalized_tokens(text)}))
        self._embed = embed
        self._ngram = ngram
        self._similarity = similarity
        self._whole = {tuple(normalized_tokens(text)) for text in self.texts}
        count: Counter[Words] = Counter()
        for words in self._whole:  # one text in three spellings is one
            if len(words) >= FEWEST:
                count.update(_ngrams(words, min(len(words), ngram)))
        most = max(MANY, MANY_SHARE * len(self._whole))
        self._parts: dict[int, set[Words]] = {}  # by their number of words
        for words, texts_with_it in count.items():
            if texts_with_it <= most:
                self._parts.setdefault(len(words), set()).add(words)

    @property
    def sha256(self) -> str:
        """Of the texts, whatever their order."""
        return hashlib.sha256("\0".join(self.texts).encode("utf-8", "surrogatepass")).hexdigest()

    def shares_words(self, query: str, answer: str, prompt: str = "") -> bool:
        """Return whether a question or its answer holds one of the texts, or a long part of one; so may its prompt."""
        said = [tuple(normalized_tokens(text)) for text in (query, answer)]
        if said[0] in self._whole:
            return True
        whole = [*said, tuple(normalized_tokens(prompt))]
        for length, parts in self._parts.items():
            for words in whole if length == self._ngram else said:
                if not parts.isdisjoint(_ngrams(words, length)):
                    return True
        return False

    def means_the_same(self, queries: Sequence[str]) -> np.ndarray:
        """Return for each question whether it lies so near to one of the texts that it is that one, (n,) bool."""
        found = np.zeros(len(queries), np.bool_)
        if self._embed is None or not self.texts or not queries:
            return found
        own = self._embed(self.texts)
        vectors = self._embed(queries)
        for start in range(0, len(queries), BLOCK):
            nearest = (vectors[start : start + BLOCK] @ own.T).max(axis=1)
            found[start : start + BLOCK] = nearest >= self._similarity
        return found


def _ngrams(words: Words, length: int) -> set[Words]:
    return {words[i : i + length] for i in range(len(words) - length + 1)}
