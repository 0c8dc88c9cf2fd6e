"""What people would have said about answers, simulated from gold passages, and what the engine learns from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ruvllm.attention.attribution import (
    CALIBRATED,
    Weights,
    attribute,
    attribution_features,
    calibrate,
    says,
    sharpened,
)
from ruvllm.attention.engine import Example
from ruvllm.attention.training import train_gated
from ruvllm.bench.evaluation import Asked, Scorer, attention
from ruvllm.judging import Answered
from ruvllm.learning.judge import Judge
from ruvllm.memory.rows import title_of
from ruvllm.text import terms
from ruvllm.types import Source

__all__ = [
    "SHOWN",
    "Answer",
    "Attribution",
    "Rarities",
    "corrected",
    "fitted",
    "flipped",
    "is_good",
    "labelled",
    "learnt",
    "marked",
    "rated",
    "rated_by_judge",
    "shown",
]

SHOWN = 5  # sources under an answer

Answer = Callable[[Asked, np.ndarray], str]
"""Gives the reader's answer to a question from the shown candidates; see `ruvllm.bench.answers`."""


def shown(asked: Asked, scorer: Scorer) -> np.ndarray:
    """Return the places of the candidates that an answer shows, best first."""
    places: np.ndarray = np.argsort(-scorer(asked), kind="stable")[:SHOWN]
    return places


def is_good(asked: Asked, places: np.ndarray) -> bool:
    """Return whether a reader of these sources would be content: all evidence is among them."""
    return asked.gold <= {asked.names[i] for i in places}


@dataclass(frozen=True, slots=True)
class Attribution:
    """Credits the sources of answers: whose answers, and by which weights."""

    answer: Answer
    weights: Weights = field(default_factory=lambda: CALIBRATED)

    def credits(self, asked: Asked, places: np.ndarray, answer: str | None = None) -> np.ndarray:
        """Return what each shown source had to do with an answer (the reader's if None), (len(places),) in [0, 1]."""
        said = self.answer(asked, places) if answer is None else answer
        credits: np.ndarray = attribute(*_sources(asked, places, said), weights=self.weights)
        return credits


def fitted(asked: Sequence[Asked], answer: Answer) -> Attribution:
    """Return attribution fitted on the gold passages of these questions, for each with the answer and without one."""
    untrained = attention()
    rows, needed = [], []
    for one in asked:
        places = shown(one, untrained)
        for said in dict.fromkeys((answer(one, places), "")):
            rows.append(attribution_features(*_sources(one, places, said)))
            needed.append(one.labels[places])
    return Attribution(answer, calibrate(np.concatenate(rows), np.concatenate(needed)))


def _sources(asked: Asked, places: np.ndarray, answer: str) -> tuple[str, str, list[str], np.ndarray]:
    """Return what attribution looks at."""
    texts = [f"{title_of(node.metadata)} {node.text}" for node in (asked.nodes[i] for i in places)]
    return asked.question.question, answer, texts, asked.inputs.node_features[places]


def rated(asked: Asked, places: np.ndarray, good: bool, attribution: Attribution) -> Example | None:
    """Return what one rating of the answer teaches: nothing if it is bad, nor about turns of a dialogue."""
    return _credited(asked, places, attribution) if good else None


def corrected(asked: Asked, places: np.ndarray, attribution: Attribution) -> Example | None:
    """Return what it teaches to be told the right answer: nothing where no shown source says it, nor about turns of a
    dialogue."""
    right = asked.question.answers[0]
    nodes = [asked.nodes[i] for i in places]
    if not any(says(f"{title_of(node.metadata)} {node.text}", right) for node in nodes):
        return None
    return _credited(asked, places, attribution, right)


def marked(asked: Asked, places: np.ndarray, good: frozenset[str] | None = None) -> Example | None:
    """Return what marks on shown sources teach: on the passages named, on those that hold evidence when None."""
    names = asked.gold if good is None else good
    return _example(asked, places, np.array([asked.names[i] in names for i in places], np.float32))


def labelled(asked: Asked) -> Example | None:
    """Return what it teaches to know of every candidate whether it holds evidence."""
    return _example(asked, np.arange(len(asked.nodes)), asked.labels)


def rated_by_judge(asked: Asked, places: np.ndarray, attribution: Attribution, judge: Judge) -> Example | None:
    """Return what a judge's word on the reader's answer teaches in a rating's place; nothing without a reader."""
    answer = attribution.answer(asked, places)
    if not answer:
        return None
    sources = tuple(
        Source(
            number,
            asked.nodes[i].id,
            asked.nodes[i].source,
            title_of(asked.nodes[i].metadata),
            asked.nodes[i].text,
            1.0,
        )
        for number, i in enumerate(places.tolist(), 1)
    )
    said = judge.judge(Answered(asked.question.question, asked.vector, answer, sources, (), "stop"))
    return rated(asked, places, said.quality >= 0.5, attribution)


class Rarities:
    """How rare terms are among texts: `Judge(rarity=...)`."""

    def __init__(self, texts: Iterable[str]) -> None:
        held = [np.unique(terms(text)) for text in texts]
        self._terms, self._counts = np.unique(np.concatenate(held), return_counts=True)
        self._texts = len(held)

    def __call__(self, wanted: np.ndarray) -> np.ndarray:
        """Return BM25's weight of terms (n,) uint64, (n,) float32."""
        places = np.minimum(np.searchsorted(self._terms, wanted), len(self._terms) - 1)
        counts = np.where(self._terms[places] == wanted, self._counts[places], 0)
        return np.log1p((self._texts - counts + 0.5) / (counts + 0.5)).astype(np.float32)


def flipped(good: Sequence[bool], share: float, rng: np.random.Generator) -> list[bool]:
    """Return ratings of which each is turned round with probability `share`."""
    return [rating != bool(turn) for rating, turn in zip(good, rng.random(len(good)) < share, strict=True)]


def learnt(examples: Sequence[Example | None]) -> Scorer:
    """Return the engine as these examples leave it; where the gate refuses them it stays untrained."""
    params, _ = train_gated([example for example in examples if example is not None])
    return attention(params)


def _credited(asked: Asked, places: np.ndarray, attribution: Attribution, answer: str | None = None) -> Example | None:
    is_turn = ["speaker" in asked.nodes[i].metadata for i in places]
    if all(is_turn):
        return None
    return _example(asked, places, np.where(is_turn, 0.0, attribution.credits(asked, places, answer)))


def _example(asked: Asked, places: np.ndarray, credit: np.ndarray) -> Example | None:
    credits = np.zeros(len(asked.nodes), np.float32)
    credits[places] = sharpened(credit)
    return Example(asked.inputs, credits) if credits.any() else None
