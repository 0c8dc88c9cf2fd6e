"""`ruvllm bench judge --fit FILE`: the judge's weights, from sets that may be used for any purpose; LoCoMo is not.

XQuAD: right answers with their passage in the brain, against the answers to other questions, about that passage and
about others, and against the same answer with the passage deleted. PandaLM, GSM8K and MMLU-Pro: answers without
sources. Of each, the half that no report is made on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench.corpora import Question, read_corpus, read_questions
from ruvllm.bench.evaluation import documents
from ruvllm.bench.judge.sets import is_fitted, judged, pairs, solutions
from ruvllm.bench.judge.twins import brain_of, twins_of
from ruvllm.config import Config
from ruvllm.learning.judge.model import HEADS, fit, fit_signed
from ruvllm.types import Embedder

__all__ = ["fit_weights", "write"]

DIGITS = 4
SOLUTIONS = 150  # questions of each set


def fit_weights(data: Path, embedder: Embedder, config: Config) -> dict[str, Any]:
    """Return the weights of all heads, and what they were fitted on.

    Args:
        data: a folder with judge/ and qa/.
    """
    answerable, grounded, labels = _grounded(data, embedder, config)
    heads = {
        "answerable": fit_signed(answerable, np.tile([1.0, 0.0], len(answerable) // 2), HEADS["answerable"]),
        "grounded": fit_signed(grounded, labels, HEADS["grounded"]),
        "open": _open(data, embedder),
        "worked": _worked(data, embedder),
    }
    share = float(labels.mean())
    heads["grounded"]["intercept"] -= math.log(share / (1.0 - share))  # 0.5 is where right and wrong weigh the same
    rounded = {head: {name: round(value, DIGITS) for name, value in weights.items()} for head, weights in heads.items()}
    on = "the fitted halves of XQuAD (answerable, grounded), PandaLM (open), GSM8K and MMLU-Pro solutions (worked)"
    return {"version": 1, "fitted_on": on, **rounded}


def _grounded(data: Path, embedder: Embedder, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of the twins (with, without, with, ...), rows of answers, and which of these are right."""
    passages = read_corpus(data / "qa" / "xquad_en_passages.jsonl.gz")
    questions = read_questions(data / "qa" / "xquad_en_questions.jsonl.gz")
    twins, rows, labels = [], [], []
    with brain_of(documents(passages), embedder, config) as memory:
        for one in questions:
            if not is_fitted(one.gold_pids[0]):
                continue
            found = twins_of(memory, one.question, frozenset(one.gold_pids), lambda node: str(node.source), k=5)
            wrong = [_neighbour(one, questions), _stranger(one, questions)]
            for is_given, sources in ((True, found.given), (False, found.deleted)):
                for answer, is_right in ((one.answers[0], is_given), *((answer, False) for answer in wrong)):
                    signals = judged(one.question, answer, sources, embedder.encode, memory.rarity)
                    rows.append([signals[name] for name in HEADS["grounded"]])
                    labels.append(float(is_right))
                    if answer == one.answers[0]:
                        twins.append([signals[name] for name in HEADS["answerable"]])
    return np.array(twins), np.array(rows), np.array(labels)


def _neighbour(one: Question, questions: Sequence[Question]) -> str:
    """Return the answer to the next other question about the same passage: wrong here, and in the same words."""
    about = [q for q in questions if q.gold_pids == one.gold_pids]
    others = [q for q in about if q.answers[0] != one.answers[0]] or [q for q in questions if q != one]
    return next((q.answers[0] for q in others if q.id > one.id), others[0].answers[0])


def _stranger(one: Question, questions: Sequence[Question]) -> str:
    """Return the answer to a question about another passage: what no source says, as an invented answer."""
    place = questions.index(one) + len(questions) // 2
    return next(
        q.answers[0]
        for i in range(len(questions))
        for q in (questions[(place + i) % len(questions)],)
        if q.gold_pids != one.gold_pids
    )


def _open(data: Path, embedder: Embedder) -> dict[str, float]:
    """Return weights by the differences within pairs."""
    names = HEADS["open"]
    rows = []
    for pair in pairs(data / "judge" / "pandalm_pairs.jsonl.gz", fitted=True):
        rows += [
            [signals[name] for name in names]
            for answer in (pair.better, pair.worse)
            for signals in (judged(pair.instruction, answer, (), embedder.encode, lambda terms: np.ones(len(terms))),)
        ]
    table = np.array(rows)
    lead = table[::2] - table[1::2]
    weights = fit(np.concatenate([lead, -lead]), np.repeat([1.0, 0.0], len(lead)), names)
    return _centred(weights, table)


def _worked(data: Path, embedder: Embedder) -> dict[str, float]:
    """Return weights by solutions less the mean of their set: which set an answer is of, is not learnt."""
    names = HEADS["worked"]
    rows, labels, tables = [], [], []
    for name in ("gsm8k_solutions", "mmlu_pro_solutions"):
        found = solutions(data / "judge" / f"{name}.jsonl.gz", embedder.encode, fitted=True, limit=SOLUTIONS)
        tables.append(np.array([[one.signals[n] for n in names] for one in found]))
        rows.append(tables[-1] - tables[-1].mean(axis=0))
        labels.append(np.array([float(one.is_right) for one in found]))
    return _centred(fit(np.concatenate(rows), np.concatenate(labels), names), np.concatenate(tables))


def _centred(weights: dict[str, float], table: np.ndarray) -> dict[str, float]:
    """Return the weights with an intercept by which the mean answer has 0.5."""
    mean = table.mean(axis=0)
    names = [name for name in weights if name != "intercept"]
    shift = sum(weights[name] * value for name, value in zip(names, mean, strict=True))
    return weights | {"intercept": -float(shift)}


def write(path: Path, weights: dict[str, Any]) -> None:
    """Write the file that `learning/judge` ships."""
    path.write_text(json.dumps(weights, indent=1) + "\n", encoding="utf-8")
