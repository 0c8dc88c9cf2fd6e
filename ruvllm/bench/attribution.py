"""`ruvllm bench attribution`: how well the sources that an answer really needed are told from the others it saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ruvllm.bench.evaluation import Asked, attention
from ruvllm.bench.pool import Pool
from ruvllm.bench.ratings import credits_for, shown
from ruvllm.bench.report import Report, make_report
from ruvllm.bench.setup import Settings, ask_files, open_tools
from ruvllm.text import containment, token_f1
from ruvllm.types import Embedder

__all__ = ["auroc", "run"]

RIGHT_F1 = 0.5  # token F1 to a gold answer from which the reader's own counts as right
TARGET = 0.92  # on right answers
METRIC = "AUROC"
RANK, COMBINED = "prior's rank alone", "combined"


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    asked: Asked
    places: np.ndarray
    answer: str

    @property
    def texts(self) -> list[str]:
        return [f"{node.metadata.get('title', '')} {node.text}".strip() for node in self._nodes]

    @property
    def _nodes(self) -> list:
        return [self.asked.nodes[i] for i in self.places]


def run(corpus: Path, questions: Path, settings: Settings) -> Report:
    """Return the AUROC of gold against the other shown sources, within a question, by signal and sort of answer."""
    pool = Pool((METRIC,))
    untrained = attention()
    with open_tools(settings) as tools:
        asked = ask_files(corpus, questions, settings, tools)
        for number, one in enumerate(asked):
            places = shown(one, untrained)
            is_gold = one.labels[places]
            if is_gold.any() and not is_gold.all():
                for sort, answer in _answers(one, tools.answer(one, places)).items():
                    for name, signal in _signals(tools.embedder).items():
                        value = auroc(signal(_Shown(one, places, answer)), is_gold)
                        pool.add(f"{sort}, {name}", [number], np.array([[value]]))
            settings.on_progress("questions", number + 1, len(asked))
    return make_report("attribution", _rows(pool))


def auroc(scores: np.ndarray, is_gold: np.ndarray) -> float:
    """Return the chance that a gold source has a higher score than another; equal ones count half."""
    gold, other = scores[is_gold][:, np.newaxis], scores[~is_gold][np.newaxis]
    return float(np.mean((gold > other) + 0.5 * (gold == other)))
