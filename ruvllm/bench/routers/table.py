"""Files of what models scored on questions, one JSON object a line, as one table.

A row is {prompt, score: {model: 0..1}} and may have choices, subject, benchmark, cost_usd or cost {model}, latency_ms
{model} and probe {top_probability, margin, entropy, mean_logprob, num_tokens}: what the smallest model made of the
prompt before it answered. A score that is missing or null is not known.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ruvllm.bench.corpora import read_rows
from ruvllm.router.outcomes import Outcomes, TierInfo
from ruvllm.types import Embedder

__all__ = [
    "Floats",
    "Ints",
    "Question",
    "Table",
    "choose_models",
    "make_table",
    "question_key",
    "read_questions",
    "rows_of",
    "with_scores",
]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Key = TypeVar("Key", bound=Hashable)
Ints = npt.NDArray[np.int64]

ROWS_PER_SUBJECT = 20  # two in each of ten folds
PROBE = ("top_probability", "margin", "entropy", "mean_logprob", "num_tokens")
SIZE = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)  # 7b, 1.5B, 8x7B
OPTIONS = re.compile(r"\n\(?A[.):] ")  # where a multiple-choice prompt starts to list its answers


@dataclass(frozen=True, slots=True)
class Question:
    """One row of a file."""

    text: str
    key: str
    benchmark: str
    subject: str
    score: Mapping[str, float]
    cost: Mapping[str, float]
    cost_unit: str
    latency_ms: Mapping[str, float]
    probe: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Outcomes with what only a bench knows of each question.

    Attributes:
        benchmarks, subjects: of each row; "" where the file names none.
        keys: rows with the same key ask the same question.
        probes: (n, 5) float32, as PROBE names them; None when the files have none.
        cost_unit: of the outcomes' costs, such as "USD"; None when neither costs nor sizes are known.
    """

    outcomes: Outcomes
    benchmarks: tuple[str, ...]
    subjects: tuple[str, ...]
    keys: tuple[str, ...]
    probes: Floats | None
    cost_unit: str | None

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def names(self) -> list[str]:
        """Names of the models, the cheapest first."""
        return [tier.name for tier in self.outcomes.tiers]

    @property
    def topics(self) -> tuple[str, ...]:
        """What rows are compared within: benchmark and subject, the benchmark alone where subjects have few rows."""
        both = tuple(map(" ".join, zip(self.benchmarks, self.subjects, strict=True)))
        is_fine = len(self) >= ROWS_PER_SUBJECT * len(set(both)) or len(set(self.benchmarks)) < 2
        return both if is_fine else self.benchmarks

    @property
    def has_topics(self) -> bool:
        """Whether there are topics to tell apart."""
        return len(set(self.topics)) > 1

    def take(self, rows: Sequence[int] | Ints) -> Table:
        """Return the chosen rows, in that order."""
        return Table(
            outcomes=self.outcomes.take(rows),
            benchmarks=tuple(self.benchmarks[i] for i in rows),
            subjects=tuple(self.subjects[i] for i in rows),
            keys=tuple(self.keys[i] for i in rows),
            probes=None if self.probes is None else self.probes[np.asarray(rows, np.int64)],
            cost_unit=self.cost_unit,
        )


def read_questions(paths: Sequence[Path]) -> list[Question]:
    """Return the rows of all files, in order.

    Raises:
        ValueError: a line is not an object of the form above; the file and the line are named.
    """
    questions = []
    for path in paths:
        for number, row in enumerate(read_rows(path, ("prompt", "score")), 1):
            try:
                questions.append(_question(row))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    if not questions:
        raise ValueError(f"no rows in {', '.join(map(str, paths))}")
    return questions


def choose_models(questions: Sequence[Question], models: Sequence[str] | None) -> list[str]:
    """Return the models to route between: those named, else all that score any question.

    Raises:
        ValueError: a named model is in no row, or fewer than two models are left.
    """
    known = dict.fromkeys(name for q in questions for name in q.score)
    names = list(dict.fromkeys(models)) if models else list(known)
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"no row has a score of {missing[0]!r}; the models are {', '.join(known)}")
    if len(names) < 2:
        raise ValueError(f"two models are the least to route between ({', '.join(names) or 'none'})")
    return names


def with_scores(questions: Sequence[Question], names: Sequence[str]) -> list[Question]:
    """Return the questions that every model has a score for; how many are left out is said in the log.

    Raises:
        ValueError: there are none.
    """
    kept = [q for q in questions if all(name in q.score for name in names)]
    if not kept:
        raise ValueError(f"no row has a score of every model ({', '.join(names)}); name fewer models")
    if dropped := len(questions) - len(kept):
        logger.warning("%d of %d rows lack the score of a model and are left out", dropped, len(questions))
    return kept


def make_table(questions: Sequence[Question], names: Sequence[str], embedder: Embedder) -> Table:
    """Return a table of questions that all have a score of every model; models by cost, the cheapest first.

    Costs are the rows' own; the models' sizes, read from their names, where rows have none. Without either, models are
    in order of mean score.
    """
    cost, unit = _costs(questions, names)
    quality = _matrix([q.score for q in questions], names)
    mean_cost = np.nan_to_num(np.nanmean(cost, axis=0)) if unit else np.zeros(len(names))
    order = sorted(range(len(names)), key=lambda t: (mean_cost[t], float(quality[:, t].mean())))
    tiers = tuple(TierInfo(names[t], _parameters(names[t]), float(mean_cost[t])) for t in order)
    outcomes = Outcomes(
        tiers=tiers,
        texts=tuple(q.text for q in questions),
        vectors=np.asarray(embedder.encode([q.text for q in questions]), np.float32),
        quality=quality[:, order],
        latency_ms=_matrix([q.latency_ms for q in questions], names)[:, order],
        cost=cost[:, order],
        propensity=np.ones((len(questions), len(names)), np.float32),
    )
    return Table(
        outcomes,
        benchmarks=tuple(q.benchmark for q in questions),
        subjects=tuple(q.subject for q in questions),
        keys=tuple(q.key for q in questions),
        probes=_probes(questions),
        cost_unit=unit,
    )


def rows_of(values: Sequence[Key]) -> dict[Key, Ints]:
    """Return the rows of each value, values in order of first appearance."""
    found: dict[Key, list[int]] = {}
    for i, value in enumerate(values):
        found.setdefault(value, []).append(i)
    return {value: np.array(rows, np.int64) for value, rows in found.items()}


def question_key(prompt: str) -> str:
    """Return a digest of what is asked: without listed answers, spaces and case, as files write these differently."""
    stem = OPTIONS.split(prompt, maxsplit=1)[0]
    return hashlib.blake2b("".join((stem.strip() or prompt).casefold().split()).encode(), digest_size=8).hexdigest()


def _question(row: Mapping[str, Any]) -> Question:
    prompt, choices = row["prompt"], row.get("choices") or []
    if not isinstance(prompt, str) or not isinstance(choices, list):
        raise ValueError("prompt must be a text and choices a list of texts")
    score = _numbers(row, "score")
    for name, value in score.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"score of {name!r} must be in [0, 1] ({value:g})")
    cost = _numbers(row, "cost_usd") or _numbers(row, "cost")
    latency = _numbers(row, "latency_ms")
    for what, values in (("cost", cost), ("latency_ms", latency)):
        if any(not 0.0 <= value < float("inf") for value in values.values()):
            raise ValueError(f"{what} must be finite and >= 0")
    return Question(
        text=" ".join([prompt, *map(str, choices)]),
        key=question_key(prompt),
        benchmark=str(row.get("benchmark") or ""),
        subject=str(row.get("subject") or ""),
        score=score,
        cost=cost,
        cost_unit="USD" if row.get("cost_usd") else "the file's unit",
        latency_ms=latency,
        probe=_probe(row.get("probe")),
    )


def _numbers(row: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return the numbers under `name` by model, without those that are null."""
    values = row.get(name)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ValueError(f"{name} must be an object {{model: number}}")
    for model, value in values.items():
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"{name} of {model!r} must be a number ({value!r})")
    return {model: float(value) for model, value in values.items() if value is not None}


def _probe(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or any(not isinstance(value.get(name), int | float) for name in PROBE):
        raise ValueError(f"probe must be an object of numbers: {', '.join(PROBE)}")
    return tuple(float(value[name]) for name in PROBE)


def _probes(questions: Sequence[Question]) -> Floats | None:
    probes = [q.probe for q in questions if q.probe is not None]
    if not probes:
        return None
    if len(probes) < len(questions):
        raise ValueError(f"probe must be in every row or in none ({len(probes)} of {len(questions)})")
    return np.array(probes, np.float32)


def _costs(questions: Sequence[Question], names: Sequence[str]) -> tuple[Floats, str | None]:
    """Return (n, T) costs and their unit."""
    cost = _matrix([q.cost for q in questions], names)
    if not np.isnan(cost).all(axis=0).any():
        return cost, questions[0].cost_unit
    sizes = [_parameters(name) for name in names]
    if None in sizes:
        return np.full(cost.shape, np.nan, np.float32), None
    return np.tile(np.array(sizes, np.float64) / 1e9, (len(questions), 1)).astype(np.float32), "billions of parameters"


def _parameters(name: str) -> int | None:
    """Return the size that a model's name states; None when it states none."""
    found = SIZE.search(name)
    return None if found is None else int(int(found[1] or 1) * float(found[2]) * 1e9)


def _matrix(values: Sequence[Mapping[str, float]], names: Sequence[str]) -> Floats:
    """Return (n, T) float32, NaN where a value is missing."""
    return np.array([[row.get(name, np.nan) for name in names] for row in values], np.float32)
