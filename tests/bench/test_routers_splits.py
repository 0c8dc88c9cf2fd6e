"""What is judged was not learnt from, in whatever order and file it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench.routers.splits import across, by_question, by_topic

from . import rows


def test_every_row_is_judged_once_and_never_taught_then(tmp_path: Path) -> None:
    lines = rows.planted(60)
    table = rows.table(tmp_path, lines + lines[:30])
    folds = by_question(table, seed=0)
    assert sorted(np.concatenate([split.test for split in folds])) == list(range(len(table)))
    for split in folds:
        assert not {table.keys[i] for i in split.train} & {table.keys[i] for i in split.test}


def test_folds_follow_the_question_not_its_place(tmp_path: Path) -> None:
    lines = rows.planted(60)
    there, back = rows.table(tmp_path, lines), rows.table(tmp_path, lines[::-1])
    first = {frozenset(there.keys[i] for i in split.test) for split in by_question(there, seed=3)}
    assert first == {frozenset(back.keys[i] for i in split.test) for split in by_question(back, seed=3)}
    assert first != {frozenset(there.keys[i] for i in split.test) for split in by_question(there, seed=4)}


def test_a_subject_left_out_is_judged_by_the_others(tmp_path: Path) -> None:
    table = rows.table(tmp_path, rows.planted(40))
    for split in by_topic(table):
        assert not {table.topics[i] for i in split.train} & {table.topics[i] for i in split.test}


def test_leaving_out_the_only_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two subjects"):
        by_topic(rows.table(tmp_path, rows.planted(20, subject="algebra")))


def test_test_rows_that_train_asks_are_left_out(tmp_path: Path) -> None:
    lines = rows.planted(30)
    (split,) = across(rows.table(tmp_path, lines[:20] + lines[10:]), 20)
    assert list(split.train) == list(range(20)) and list(split.test) == list(range(30, 40))


def test_one_question_makes_no_folds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two different questions"):
        by_question(rows.table(tmp_path, rows.planted(1) * 5), seed=0)
