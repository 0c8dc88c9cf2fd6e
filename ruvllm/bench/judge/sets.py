"""The sets that judges are measured on, as answers with what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.bench.corpora import read_rows
from ruvllm.judging import Answered
from ruvllm.learning.judge.signals import Encode, signals_of
from ruvllm.types import Source

__all__ = ["MAX_WORDS", "Judged", "Pair", "is_fitted", "judged", "pairs", "solutions"]

MAX_WORDS = 250  # of an answer: as many as the embedder reads


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer: its signals, whether it is right, its length, and the question it belongs to."""

    signals: Mapping[str, float]
    is_right: bool
    length: int
    group: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction, the preferred one first."""

    id: str
    instruction: str
    better: str
    worse: str
    part: str


def is_fitted(group: str) -> bool:
    """Return whether a question is of the half that weights may be fitted on; the other half is reported."""
    return hashlib.sha256(group.encode()).digest()[0] % 2 == 0


def judged(
    question: str, answer: str, sources: Sequence[Source], encode: Encode, rarity: Callable[..., Any]
) -> dict[str, float]:
    """Return the signals of one answer."""
    answered = Answered(question, encode([question])[0], answer, tuple(sources), (), "stop")
    return signals_of(answered, encode, rarity)


def solutions(path: Path, encode: Encode, *, fitted: bool, limit: int | None = None) -> list[Judged]:
    """Return written solutions known right or wrong, {id, question, model, answer, correct}, of one half.

    Args:
        limit: questions drawn by their ids; all when None.
    """
    rows = [row for row in read_rows(path, ("id", "question", "answer", "correct")) if is_fitted(row["id"]) == fitted]
    kept = set(sorted({row["id"] for row in rows}, key=_place)[:limit])
    return [
        Judged(
            judged(row["question"], _cut(str(row["answer"])), (), encode, _alike),
            bool(row["correct"]),
            len(row["answer"]),
            row["id"],
            row["question"],
            _cut(str(row["answer"])),
        )
        for row in rows
        if row["id"] in kept
    ]


def pairs(path: Path, *, fitted: bool | None = None) -> list[Pair]:
    """Return the pairs of which one answer is preferred: of one half, or all."""
    return list(_pairs(path, fitted))


def _pairs(path: Path, fitted: bool | None) -> Iterator[Pair]:
    for row in read_rows(path, ("id", "instruction", "response_a", "response_b")):
        instruction = "\n".join(part for part in (row["instruction"], row.get("input")) if part)
        if row.get("preferred") not in ("a", "b") or (fitted is not None and is_fitted(instruction) != fitted):
            continue
        a, b = _cut(str(row["response_a"])), _cut(str(row["response_b"]))
        better, worse = (a, b) if row["preferred"] == "a" else (b, a)
        yield Pair(str(row["id"]), instruction, better, worse, str(row.get("source", "")))


def _alike(terms: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    return np.ones(len(terms))


def _cut(text: str) -> str:
    """Return a text of at most MAX_WORDS words with its lines; an empty one says so."""
    words = text.split(" ")
    return " ".join(words[:MAX_WORDS]) if text.strip() else "-"


def _place(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
