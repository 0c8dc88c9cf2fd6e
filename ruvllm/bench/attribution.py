"""`ruvllm bench attribution`: how well the sources that an answer really needed are told from the others it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ruvllm.bench.evaluation import Asked, attention
from ruvllm.bench.pool import Pool
from ruvllm.bench.ratings import shown
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, ask_files, open_tools
from ruvllm.text import containment, token_f1
from ruvllm.types import Embedder

__all__ = ["auroc", "run"]

RIGHT_F1 = 0.5  # token F1 to a gold answer from which the reader's own counts as right
TARGET = 0.92  # on right answers
METRIC = "AUROC"
RANK, COMBINED = "prior's rank alone", "combined"


Signal = Callable[[Asked, np.ndarray, str], np.ndarray]
"""Gives each shown source of an answer a score: question, places of the shown candidates, answer -> (m,)."""


def run(corpus: Path, questions: Path, settings: Settings) -> Report:
    """Return the AUROC of gold against the other shown sources, within a question, by signal and sort of answer."""
    pool = Pool((METRIC,))
    untrained = attention()
    with open_tools(settings) as tools:
        asked = ask_files(corpus, questions, settings, tools.embedder)
        signals: dict[str, Signal] = {RANK: _rank, "cosine": _cosine(tools.embedder), "token overlap": _overlap}
        signals[COMBINED] = tools.attribution.credits
        for number, one in enumerate(asked):
            places = shown(one, untrained)
            is_gold = one.labels[places]
            if is_gold.any() and not is_gold.all():
                for sort, answer in _answers(one, tools.attribution.answer(one, places)).items():
                    for name, signal in signals.items():
                        value = auroc(signal(one, places, answer), is_gold)
                        pool.add(f"{sort}, {name}", [number], np.array([[value]]))
            settings.on_progress("questions", number + 1, len(asked))
    return make_report("attribution", _rows(pool))


def auroc(scores: np.ndarray, is_gold: np.ndarray) -> float:
    """Return the chance that a gold source has a higher score than another; equal ones count half."""
    gold, other = scores[is_gold][:, np.newaxis], scores[~is_gold][np.newaxis]
    return float(np.mean((gold > other) + 0.5 * (gold == other)))


def _answers(asked: Asked, own: str) -> dict[str, str]:
    """Return the answers to ask about, by sort; a reader's own is missing where there is no reader."""
    answers = {"gold answers": asked.question.answers[0]}
    if own:
        answers["own answers"] = own
        if max(token_f1(own, gold) for gold in asked.question.answers) >= RIGHT_F1:
            answers["right own answers"] = own
    return answers


def _rank(asked: Asked, places: np.ndarray, answer: str) -> np.ndarray:
    return -np.arange(len(places), dtype=np.float32)


def _overlap(asked: Asked, places: np.ndarray, answer: str) -> np.ndarray:
    return np.array([containment(answer, asked.nodes[i].text) for i in places])


def _cosine(embedder: Embedder) -> Signal:
    """Return the cosine of each source to question and answer together."""

    def signal(asked: Asked, places: np.ndarray, answer: str) -> np.ndarray:
        said, *sources = embedder.encode(
            [f"{asked.question.question} {answer}", *(asked.nodes[i].text for i in places)]
        )
        return np.asarray(np.stack(sources) @ said)

    return signal


def _rows(pool: Pool) -> list[Row]:
    rows: list[Row] = []
    for sort in ("own answers", "right own answers", "gold answers"):
        systems = [name for name in pool.systems if name.startswith(f"{sort}, ")]
        for system in systems:
            (row,) = pool.rows(system)
            if system == f"right own answers, {COMBINED}":
                row = replace(row, target=TARGET, met=row.value >= TARGET)
            rows.append(row)
        if systems:
            gain = pool.gain(f"{sort}, {COMBINED}", f"{sort}, {RANK}", METRIC)
            rows.append(replace(gain, name=f"{sort}, {COMBINED}, gain over {RANK}"))
    return rows
