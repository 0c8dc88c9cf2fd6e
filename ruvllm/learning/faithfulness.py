"""Whether a sentence says only what the texts say that it sums up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ruvllm.text import containment, sentence_spans

__all__ = ["Grounds", "sentences_of"]

# Of 630 sentences of LoCoMo's session summaries, which paraphrase freely, these limits find 64 % supported by the turns
# of their own session, and 5 % by those of another session of the same two people.
MIN_COSINE = 0.5
MIN_WORDS = 0.5

Encode = Callable[[Sequence[str]], np.ndarray]

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<=\S\s)[A-Z][\w'’\-]*")
_WORD = re.compile(r"\w+")


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, stripped, none empty."""
    return [sentence for start, stop in sentence_spans(text) if (sentence := text[start:stop].strip())]


@dataclass(frozen=True, slots=True)
class Support:
    """How far a sentence is supported: cosine to the nearest text, share of its words, what no text mentions."""

    cosine: float
    words: float
    unknown: frozenset[str]

    @property
    def is_enough(self) -> bool:
        return self.cosine >= MIN_COSINE and self.words >= MIN_WORDS and not self.unknown


class Grounds:
    """The texts that support what is said of them.

    Args:
        texts: not empty.
        vectors: (n, dim) float32 unit vectors of them.
        encode: texts -> unit vectors of the same space.
    """

    def __init__(self, texts: Sequence[str], vectors: np.ndarray, encode: Encode) -> None:
        self._whole = "\n".join(texts)
        self._words = {word.lower() for word in _WORD.findall(self._whole)}
        self._numbers = set(_NUMBER.findall(self._whole))
        self._vectors = vectors
        self._encode = encode

    def support(self, sentences: Sequence[str]) -> list[Support]:
        """Return how far each sentence is supported by one of the texts, and by the words of all."""
        if not sentences:
            return []
        cosines = (self._encode(sentences) @ self._vectors.T).max(axis=1)
        return [
            Support(float(cosine), containment(sentence, self._whole), self._unknown(sentence))
            for sentence, cosine in zip(sentences, cosines, strict=True)
        ]

    def _unknown(self, sentence: str) -> frozenset[str]:
        """Return the numbers and names in a sentence that no text has; its first word is capital as every first is."""
        names = {name for name in _NAME.findall(sentence) if not self._has(name)}
        return frozenset(names | {number for number in _NUMBER.findall(sentence) if number not in self._numbers})

    def _has(self, name: str) -> bool:
        return all(word.lower() in self._words for word in _WORD.findall(name) if len(word) > 1)
