"""Corpora ({pid, title, text}) and questions ({id, question, answers | answer, gold_pids | gold_pid}) as JSON Lines."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

__all__ = ["Passage", "Question", "read_corpus", "read_questions", "read_rows", "sample"]


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of a corpus."""

    pid: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its accepted answers and the passages that hold them."""

    id: str
    question: str
    answers: tuple[str, ...]
    gold_pids: tuple[str, ...]


def read_corpus(path: Path) -> list[Passage]:
    """Return the passages of `path` in file order."""
    return [Passage(str(row["pid"]), row.get("title") or "", row["text"]) for row in read_rows(path, ("pid", "text"))]


def read_questions(path: Path) -> list[Question]:
    """Return the questions of `path` that have an answer, in file order."""
    questions = []
    for row in read_rows(path, ("id", "question")):
        answers = row.get("answers") or ([row["answer"]] if row.get("answer") else [])
        gold = row.get("gold_pids") or ([row["gold_pid"]] if row.get("gold_pid") is not None else [])
        if answers:
            questions.append(Question(str(row["id"]), row["question"], tuple(answers), tuple(map(str, gold))))
    return questions


def sample(questions: list[Question], n: int, seed: int) -> list[Question]:
    """Return `n` questions drawn without replacement, all of them when there are fewer."""
    order = np.random.default_rng(seed).permutation(len(questions))[:n]
    return [questions[i] for i in order]


def read_rows(path: Path, required: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the objects of `path`, gzipped or not.

    Raises:
        ValueError: a line is not an object or lacks a required name.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            if missing := [name for name in required if name not in row]:
                raise ValueError(f"{path}, line {number}: no {missing[0]!r}")
            yield row
