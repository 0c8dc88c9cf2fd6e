"""A cluster in a few words: summed up by a model where that says only what the members say, quoted from them else."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ruvllm.errors import RuvLLMError
from ruvllm.inference.engine import Engine, complete
from ruvllm.learning.faithfulness import Encode, Grounds, sentences_of
from ruvllm.memory.concepts import Concept
from ruvllm.text import STOP_WORDS
from ruvllm.types import GenerationOptions, Message

__all__ = ["ClusterSummarizer", "TermCounts"]

SHOWN_MEMBERS = 8  # to the model, the most central ones
SHOWN_CHARS = 400  # of each
READ_MEMBERS = 32  # that sentences are checked against and quoted from
QUOTED = 3  # sentences of a summary that is quoted
CANDIDATES = 64  # sentences that are looked at for quoting
DIVERSITY = 0.3  # of maximal marginal relevance: what likeness to a sentence chosen before costs
TITLE_TERMS, KEYWORDS = 3, 8
MIN_SENTENCE_CHARS = 12
OPTIONS = GenerationOptions(max_new_tokens=96, temperature=0.0, repetition_penalty=1.15)
SYSTEM = "You sum up notes. You say only what the notes say."

_WORD = re.compile(r"[^\W\d_][\w'’-]+")


class TermCounts:
    """How often words stand in a body of texts: what a cluster's own words are weighed against."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._counts: Counter[str] = Counter()
        self._total = 0
        self.add(texts)

    def add(self, texts: Iterable[str]) -> None:
        """Count the words of more texts."""
        for text in texts:
            counts = _counted(text)
            self._counts.update(counts)
            self._total += sum(counts.values())

    def keywords(self, texts: Sequence[str], k: int) -> list[str]:
        """Return the `k` words that tell a cluster from the rest, best first.

        Source: Grootendorst 2022 (arXiv:2203.05794), class-based TF-IDF: tf * log(1 + A / f), A words a cluster.
        """
        own: Counter[str] = Counter()
        for text in texts:
            own.update(_counted(text))
        average = max(sum(own.values()), 1)
        score = {word: n * math.log1p(average / max(self._counts[word], n)) for word, n in own.items()}
        return sorted(score, key=lambda word: (-score[word], word))[:k]


def _counted(text: str) -> Counter[str]:
    return Counter(word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS)


class ClusterSummarizer:
    """Makes concepts of clusters.

    Args:
        engine: the model that sums up; None quotes always.
        encode: texts -> (n, native_dim) float32 unit vectors, of the memory's embedder.
        background: word counts of everything else; of the members alone when None.
    """

    def __init__(self, engine: Engine | None, encode: Encode, background: TermCounts | None = None) -> None:
        self._engine = engine
        self._encode = encode
        self._background = background

    def summarize(
        self, texts: Sequence[str], *, cancelled: Callable[[], bool] | None = None, level: int = 1, density: float = 0.0
    ) -> Concept | None:
        """Return the concept of a cluster; None when it was cancelled.

        Its metadata say how it came to be: `summary` is "generated" by `model` where sentences are left that members
        support and that say what the cluster is about (others are dropped), else "extractive"; `supported` of the
        `sentences` that the model wrote; `title`, `keywords`, `source_cluster_size`, `level` and `density`.

        Args:
            texts: of the members, the most central first; not empty.

        Raises:
            ValueError: there are no texts.
        """
        if not texts:
            raise ValueError("texts must not be empty")
        metadata: dict[str, Any] = {"source_cluster_size": len(texts), "level": level, "density": round(density, 4)}
        keywords = (self._background or TermCounts(texts)).keywords(texts, KEYWORDS)
        texts = texts[:READ_MEMBERS]
        vectors = self._encode(texts)
        metadata |= {"title": ", ".join(keywords[:TITLE_TERMS]), "keywords": keywords}
        written = self._generated(texts, cancelled)
        if cancelled is not None and cancelled():
            return None
        sentences = [s for s in sentences_of(written) if len(s) >= MIN_SENTENCE_CHARS]
        kept = [
            sentence
            for sentence, support in zip(
                sentences, Grounds(texts, vectors, self._encode).support(sentences), strict=True
            )
            if support.is_enough
        ]
        if sentences:
            metadata |= {"sentences": len(sentences), "supported": len(kept)}
        told = " ".join(kept).lower()
        if self._engine is not None and any(word in told for word in keywords[:TITLE_TERMS]):
            return Concept(" ".join(kept), metadata | {"summary": "generated", "model": self._engine.name})
        return Concept(self._quoted(texts, vectors), metadata | {"summary": "extractive"})

    def _generated(self, texts: Sequence[str], cancelled: Callable[[], bool] | None) -> str:
        """Return what the model writes; nothing where it fails, is stopped, or the texts do not fit it."""
        if self._engine is None:
            return ""
        shown = [text[:SHOWN_CHARS] for text in texts[:SHOWN_MEMBERS]]
        while shown:
            notes = "\n".join(f"- {' '.join(text.split())}" for text in shown)
            messages = [
                Message("system", SYSTEM),
                Message("user", f"Notes:\n{notes}\n\nSum up what these notes say in one or two sentences."),
            ]
            if self._engine.count_tokens(messages) + OPTIONS.max_new_tokens <= self._engine.context_tokens:
                break
            shown.pop()
        else:
            return ""
        try:
            done = complete(self._engine, messages, OPTIONS, cancelled=cancelled)
        except RuvLLMError:  # the model is down: the members' own sentences serve
            return ""
        return _whole_sentences(done.text, is_cut=done.finish_reason == "length")

    def _quoted(self, texts: Sequence[str], vectors: np.ndarray) -> str:
        """Return the most central sentences of the members that say different things.

        Source: Carbonell and Goldstein 1998, maximal marginal relevance.
        """
        sentences = list(dict.fromkeys(s for text in texts for s in sentences_of(text)))[:CANDIDATES]
        if not sentences:
            return texts[0].strip()
        rows = self._encode(sentences)
        centroid = vectors.sum(axis=0)
        relevance = rows @ (centroid / max(float(np.linalg.norm(centroid)), 1e-6))
        chosen: list[int] = []
        for _ in range(min(QUOTED, len(sentences))):
            likeness = (rows @ rows[chosen].T).max(axis=1) if chosen else np.zeros(len(rows))
            worth = (1.0 - DIVERSITY) * relevance - DIVERSITY * likeness
            worth[chosen] = -np.inf
            chosen.append(int(np.argmax(worth)))
        return " ".join(sentences[i] for i in chosen)


def _whole_sentences(text: str, *, is_cut: bool) -> str:
    """Return a text without the sentence in which the model ran out of tokens."""
    sentences = sentences_of(text)
    return " ".join(sentences[:-1] if is_cut and len(sentences) > 1 else sentences)
