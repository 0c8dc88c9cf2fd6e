"""Rows of a curriculum on their way into a training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ruvllm.tuning.training.examples import drawn, read_curriculum, sft_rows, split

from . import cases


def test_answer_is_the_completion_of_what_was_before() -> None:
    (row,) = sft_rows([cases.example("sky?", "blue", weight=2.0)])
    assert row["prompt"] == [{"role": "user", "content": "sky?"}]
    assert row["completion"] == [{"role": "assistant", "content": "blue"}]


@pytest.mark.parametrize("seed", range(5))
def test_rows_come_as_often_as_their_weight_says(seed: int) -> None:
    rows = [{"id": i, "weight": weight} for i, weight in enumerate([0.5, 0.5, 1.0, 2.0])]
    counts = Counter(row["id"] for row in drawn(rows, 10.0, seed))
    assert sum(counts.values()) == 40
    assert all(abs(counts[row["id"]] - 10 * row["weight"]) <= 10 * 0.5 for row in rows)
    assert counts[3] == 20  # of an even weight: every epoch


def test_order_follows_from_the_seed() -> None:
    rows = sft_rows(cases.examples())
    assert drawn(rows, 1.5, 3) == drawn(rows, 1.5, 3) != drawn(rows, 1.5, 4)


def test_part_of_an_epoch_is_drawn() -> None:
    assert len(drawn(sft_rows(cases.examples(48)), 0.25, 0)) == 12


def test_one_question_is_on_one_side_only() -> None:
    rows = sft_rows(cases.examples(48) * 2)
    parts = split(rows, 0.3, max_tokens=9, count_tokens=lambda row: 1)
    assert parts.held_out and not [row for row in parts.held_out if row in parts.train]


def test_long_examples_are_left_out_and_counted() -> None:
    parts = split(
        sft_rows(cases.examples(4)), 0.0, max_tokens=9, count_tokens=lambda row: 10 if "0" in str(row["prompt"]) else 1
    )
    assert parts.too_long == 1 and len(parts.train) == 3


def test_nothing_short_enough_is_an_error() -> None:
    with pytest.raises(ValueError, match="max_tokens: all 4 examples are longer than 9 tokens"):
        split(sft_rows(cases.examples(4)), 0.0, max_tokens=9, count_tokens=lambda row: 10)


def test_curriculum_without_examples_is_an_error(tmp_path: Path) -> None:
    folder = cases.curriculum(tmp_path, preferences=cases.preferences(3))
    with pytest.raises(ValueError, match="holds 3 preferences: no examples"):
        read_curriculum(folder, dpo=False)


def test_one_answer_for_everything_is_an_error(tmp_path: Path) -> None:
    folder = cases.curriculum(tmp_path, sft=[cases.example(f"{i}?", "blue") for i in range(9)])
    with pytest.raises(ValueError, match="all 9 examples have one answer") as caught:
        read_curriculum(folder, dpo=False)
    assert "blue" not in str(caught.value)  # errors go to logs


def test_curriculum_edited_by_hand_is_refused(tmp_path: Path) -> None:
    folder = cases.curriculum(tmp_path, sft=cases.examples())
    (folder / "sft.jsonl").write_text((folder / "sft.jsonl").read_text().replace("blue", "red"))
    with pytest.raises(ValueError, match="was changed since it was written"):
        read_curriculum(folder, dpo=False)
