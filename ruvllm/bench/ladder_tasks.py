"""Questions of four benchmarks as a reader is asked them, and the exact rules by which an answer is right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench.corpora import read_rows
from ruvllm.text import normalized_tokens
from ruvllm.types import GenerationOptions, Message

__all__ = ["Task", "contains", "draw", "last_number", "read_tasks"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NUM_INTENTS = 10  # that are offered for a request
NUMBER = re.compile(r"(?<!\d)-?\d[\d,]*(?:\.\d+)?")  # the 5 of 10-5 has no sign

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One question.

    Attributes:
        prompt: what a user asks, and all that a router sees.
        messages: the prompt as every tier is given it, with instructions, context and choices.
        answers: what is compared by likelihood, in the order of `choices`; empty where an answer is generated.
        references: accepted answers; the one right choice where there are choices.
        is_right: whether a generated answer is right by a reference.
    """

    id: str
    benchmark: str
    subject: str
    prompt: str
    messages: tuple[Message, ...]
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    options: GenerationOptions = field(default_factory=GenerationOptions)
    is_right: Callable[[str, str], bool] = str.__eq__

    def score(self, answer: str) -> int:
        """Return 1 for a right answer, else 0."""
        return int(any(self.is_right(answer, reference) for reference in self.references))


def contains(answer: str, reference: str) -> bool:
    """Return whether the words of `reference` stand in `answer`, in a row, both normalised as SQuAD does."""
    words, wanted = normalized_tokens(answer), normalized_tokens(reference)
    starts = range(len(words) - len(wanted) + 1)
    return bool(wanted) and any(words[i : i + len(wanted)] == wanted for i in starts)


def last_number(answer: str, reference: str) -> bool:
    """Return whether the last number in `answer` is `reference`; commas between digits do not count."""
    found, wanted = NUMBER.findall(answer), NUMBER.findall(reference)
    return bool(found and wanted) and _value(found[-1]) == _value(wanted[-1])


def read_tasks(files: Sequence[Path], *, seed: int) -> dict[str, list[Task]]:
    """Return the questions of all files by benchmark, in file order.

    A file is told by the keys of its first row: {prompt, choices, reference} are questions with lettered choices,
    {prompt, worked_solution, reference} problems whose answer is a number, {text, intent} requests, {question, answers,
    gold_pid} questions about the passages of a file of {pid, text}. A benchmark's name is its rows' `benchmark`, else
    the file's name up to the first "_" or ".".

    Args:
        seed: of the intents that are offered beside the right one.

    Raises:
        ValueError: a file does not exist or is none of these; a row lacks a key; two questions have one id, or one
            comes without its passage.
    """
    rows: dict[Path, list[Row]] = {}
    for path in files:
        if not path.is_file():
            raise ValueError(f"data: no file {path}")
        rows[path] = list(read_rows(path, ()))
    passages = {str(row["pid"]): row for some in rows.values() for row in some if {"pid", "text"} <= row.keys()}
    tasks: dict[str, Task] = {}
    for path, found in rows.items():
        try:
            for task in _tasks(path, found, passages, seed):
                if task.id in tasks:
                    raise ValueError(f"data: {path} holds a second question {task.id}")
                tasks[task.id] = task
        except KeyError as error:
            raise ValueError(f"data: a row of {path} has no {error}") from error
    if not tasks:
        raise ValueError("data: the files hold no questions")
    benchmarks = dict.fromkeys(task.benchmark for task in tasks.values())
    return {name: [task for task in tasks.values() if task.benchmark == name] for name in benchmarks}


def draw(tasks: Mapping[str, Sequence[Task]], n: int, *, seed: int) -> list[Task]:
    """Return `n` questions of each benchmark, all where there are fewer, one of each in turn.

    The first questions of a larger draw with the same seed are those of a smaller.
    """
    drawn = [[some[i] for i in np.random.default_rng(seed).permutation(len(some))[:n]] for some in tasks.values()]
    return [task for task in chain.from_iterable(zip_longest(*drawn)) if task is not None]


def _tasks(path: Path, rows: list[Row], passages: Mapping[str, Row], seed: int) -> Iterable[Task]:
    keys = rows[0].keys() if rows else set()
    if {"pid", "text"} <= keys:
        return ()
    if {"question", "answers", "gold_pid"} <= keys:
        return _reading(path, rows, passages)
    if {"prompt", "choices", "reference"} <= keys:
        return _multiple_choice(path, rows)
    if {"prompt", "worked_solution", "reference"} <= keys:
        return _arithmetic(path, rows)
    if {"text", "intent"} <= keys:
        return _intents(path, rows, seed)
    raise ValueError(f"data: {path} is no known benchmark: its rows have the keys {', '.join(sorted(keys)) or 'none'}")


def _reading(path: Path, rows: list[Row], passages: Mapping[str, Row]) -> Iterator[Task]:
    system = Message("system", "Answer the question from the text in as few words as possible.")
    for row in rows:
        passage = passages.get(str(row["gold_pid"]))
        if passage is None:
            raise ValueError(f"data: {path} asks about passage {row['gold_pid']}, which is in none of the files")
        text = f"Text: {passage['text']}\n\nQuestion: {row['question']}\nShort answer:"
        yield Task(
            id=f"{_name(path, row)}/{row['id']}",
            benchmark=_name(path, row),
            subject=passage.get("title") or "",
            prompt=row["question"],
            messages=(system, Message("user", text)),
            references=tuple(row["answers"]),
            options=GenerationOptions(max_new_tokens=32, stop=("\n",)),
            is_right=contains,
        )


def _multiple_choice(path: Path, rows: list[Row]) -> Iterator[Task]:
    system = Message("system", "Answer with the letter of the right choice only.")
    for row in rows:
        choices = tuple(map(str, row["choices"]))
        letters = tuple(LETTERS[: len(choices)])
        lines = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
        yield Task(
            id=str(row["id"]),
            benchmark=_name(path, row),
            subject=row.get("subject") or "",
            prompt=row["prompt"],
            messages=(system, Message("user", f"{row['prompt']}\n\n{lines}\n\nAnswer:")),
            references=(row["reference"],),
            choices=choices,
            answers=letters,
        )


def _intents(path: Path, rows: list[Row], seed: int) -> Iterator[Task]:
    """Yield the requests that are neither for training nor outside of all intents."""
    system = Message("system", "Say the topic of a request in a few words.")
    names = sorted({row["intent"] for row in rows} - {"oos"})
    for i, row in enumerate(rows):
        if row["intent"] == "oos" or row.get("split") == "train":
            continue
        rng = np.random.default_rng((seed, i))
        others = [name for name in names if name != row["intent"]]
        offered = [others[j] for j in rng.permutation(len(others))[: NUM_INTENTS - 1]] + [row["intent"]]
        choices = tuple(offered[j].replace("_", " ") for j in rng.permutation(len(offered)))
        yield Task(
            id=str(row["id"]),
            benchmark=_name(path, row),
            subject=row.get("domain") or "",
            prompt=row["text"],
            messages=(system, Message("user", f"Request: {row['text']}\nTopic:")),
            references=(row["intent"].replace("_", " "),),
            choices=choices,
            answers=choices,
        )


WORKED = (
    ("Tom has 4 boxes of 6 pens. He gives away 5 pens. How many pens are left?", "4*6=24; 24-5=19. Answer: 19"),
    (
        "A shirt costs $20 and is sold 25% off. Ann buys 3 of them and pays with $50. How much change does she get?",
        "20*0.25=5; 20-5=15; 3*15=45; 50-45=5. Answer: 5",
    ),
)


def _arithmetic(path: Path, rows: list[Row]) -> Iterator[Task]:
    shown = [Message("system", "Solve the problem step by step with short sums, then say the answer.")]
    for question, solution in WORKED:
        shown += [Message("user", question), Message("assistant", solution)]
    for row in rows:
        yield Task(
            id=str(row["id"]),
            benchmark=_name(path, row),
            subject=row.get("subject") or "",
            prompt=row["prompt"],
            messages=(*shown, Message("user", row["prompt"])),
            references=(str(row["reference"]),),
            options=GenerationOptions(max_new_tokens=128, stop=("\n\n",)),
            is_right=last_number,
        )


def _name(path: Path, row: Row) -> str:
    return str(row.get("benchmark") or re.split(r"[_.]", path.name)[0])


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))
