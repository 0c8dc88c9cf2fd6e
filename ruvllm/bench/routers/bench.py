"""The bench itself: read, split, learn, judge, and show every figure with its floors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.routers import accuracy, many_models, splits, two_models
from ruvllm.bench.routers.comparison import compare, show
from ruvllm.bench.routers.evaluation import Judged, judge
from ruvllm.bench.routers.systems import ORACLE, systems
from ruvllm.bench.routers.table import Table, choose_models, make_table, read_questions, with_scores
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.router import measures

__all__ = ["Files", "run"]


@dataclass(frozen=True, slots=True)
class Files:
    """What is read: files whose questions are divided into folds, or files to learn from and others to be judged on.

    Raises:
        ValueError: both are given, or neither.
    """

    both: Sequence[Path] = ()
    train: Sequence[Path] = ()
    test: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if bool(self.train) != bool(self.test):
            raise ValueError("train and test belong together")
        if bool(self.both) == bool(self.train):
            raise ValueError("give files to divide into folds, or train and test")


def run(
    files: Files,
    settings: Settings,
    *,
    models: Sequence[str] | None = None,
    weak: str | None = None,
    strong: str | None = None,
    leave_out_subjects: bool = False,
    ceiling: bool = False,
) -> Report:
    """Return every figure of ruvllm's router beside the floors', on equal splits.

    Args:
        models: those to route between; all when None, or just the pair when both are named.
        weak, strong: the pair of the two-model figures; chosen by cost and quality when None.
        leave_out_subjects: judge each subject with what was learnt from the others.
        ceiling: show what large learners make of the router's own features; slow.
    """
    if leave_out_subjects and files.train:
        raise ValueError("leave_out_subjects divides files itself; it does not go with train and test")
    if models is None and weak is not None and strong is not None:
        models = [weak, strong]
    train, test = read_questions(files.train or files.both), read_questions(files.test) if files.test else []
    names = choose_models([*train, *test], models)
    train, test = with_scores(train, names), with_scores(test, names) if test else []
    with open_tools(settings) as tools:
        table = make_table([*train, *test], names, tools.embedder)
    fits = systems(table, ceiling=ceiling)
    pair = two_models.choose_pair(table, weak, strong)

    def judged(part: Table, folds: Sequence[splits.Split], what: str = "") -> Judged:
        return judge(part, folds, fits, seed=settings.seed, what=what, on_progress=settings.on_progress)

    if leave_out_subjects:
        done = judged(table, splits.by_topic(table))
    elif test:
        part = table.take(range(len(train)))
        taught = judged(part, splits.by_question(part, settings.seed), "thresholds, ")
        done = replace(judged(table, splits.across(table, len(train))), taught=taught)
    else:
        done = judged(table, splits.by_question(table, settings.seed))
    rows = [Row("questions", len(done.table), "", peers={"learnt from": done.num_taught}), *two_models.rows(done, pair)]
    if table.cost_unit is not None and len(names) > 1:
        rows += many_models.rows(done)
    return make_report("routers", [*rows, *accuracy.rows(done), *_predictions(done), *_times(done)])


def _predictions(judged: Judged) -> list[Row]:
    """Return how true the predicted qualities are, over all questions and models."""
    quality = judged.table.outcomes.quality.astype(np.float64)
    keys = tuple(key for key in judged.table.keys for _ in judged.table.names)
    predicted = {
        name: np.clip(estimate.astype(np.float64), 0.0, 1.0).ravel()
        for name, estimate in judged.quality.items()
        if name != ORACLE
    }
    errors = {name: measures.ece(estimate, quality.ravel()) for name, estimate in predicted.items()}
    squares = {name: measures.brier_over(estimate, quality.ravel()) for name, estimate in predicted.items()}
    return [
        show("ECE of predicted quality, 15 bins of equal mass", errors, ""),
        *compare("Brier score of predicted quality", squares, keys, "", less_is_better=True),
    ]


def _times(judged: Judged) -> list[Row]:
    decide = {name: 1e6 * seconds for name, seconds in judged.decide_s.items() if name != ORACLE}
    learn = {name: seconds for name, seconds in judged.fit_s.items() if name != ORACLE}
    return [
        show("decision on one question, embedding known, p50", decide, "us"),
        show(f"learning from {judged.num_taught:,.0f} questions", learn, "s"),
    ]
