"""Which questions a router learns from and which it is judged on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ruvllm.bench.routers.table import Ints, Table, rows_of

__all__ = ["FOLDS", "Split", "across", "by_question", "by_topic"]

logger = logging.getLogger(__name__)

FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows to learn from and rows to be judged on."""

    train: Ints
    test: Ints


def by_question(table: Table, seed: int) -> list[Split]:
    """Return ten folds; the same question is in the same fold in every file and every order.

    Raises:
        ValueError: there is only one question.
    """
    return _folds(rows_of([str(_hash(f"{seed} {key}") % FOLDS) for key in table.keys]), table.keys)


def by_topic(table: Table) -> list[Split]:
    """Return one fold a topic: routers are judged on topics they have not seen.

    Raises:
        ValueError: there are fewer than two topics.
    """
    if not table.has_topics:
        raise ValueError("leave_out_subjects needs rows of at least two subjects")
    return _folds(rows_of(table.topics), table.keys)


def across(table: Table, n_train: int) -> list[Split]:
    """Return one split: the first `n_train` rows teach, the others are judged on unless they were among the first.

    Raises:
        ValueError: no row is left to be judged on.
    """
    taught = set(table.keys[:n_train])
    test = np.array([i for i in range(n_train, len(table)) if table.keys[i] not in taught], np.int64)
    if dropped := len(table) - n_train - len(test):
        logger.warning("%d rows of the test files ask what the train files ask and are left out", dropped)
    if not n_train or not len(test):
        raise ValueError("train and test must each hold rows that the other does not")
    return [Split(np.arange(n_train), test)]


def _folds(folds: dict[str, Ints], keys: Sequence[str]) -> list[Split]:
    """Return a split a fold; what a fold asks is never learnt from, whatever fold it also stands in."""
    splits = []
    for test in folds.values():
        asked = {keys[i] for i in test}
        train = np.array([i for i, key in enumerate(keys) if key not in asked], np.int64)
        if not len(train):
            raise ValueError("two different questions are the least to learn from one and be judged on the other")
        splits.append(Split(train, test))
    return splits


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
