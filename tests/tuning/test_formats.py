"""A curriculum on disk: whole or not at all, as TRL reads it, and unchanged."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ruvllm.tuning import Curriculum, CurriculumBuilder, Passage

from .fakes import bad, trace


@pytest.fixture
def curriculum() -> Curriculum:
    passages = {"helped": (Passage(1, "helps"),), "misled": (Passage(2, "misleads"),)}
    return CurriculumBuilder().build([trace("a"), bad("b", correction="right", standing="corrected", **passages)])


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_the_files_have_the_columns_that_trl_reads(curriculum: Curriculum, tmp_path: Path) -> None:
    curriculum.write(tmp_path / "c")
    chat = lines(tmp_path / "c" / "sft.jsonl")
    assert [message["role"] for message in chat[0]["messages"]] == ["system", "user", "assistant"]  # type: ignore[attr-defined,index]
    (pair,) = lines(tmp_path / "c" / "preferences.jsonl")
    assert [pair[side][-1]["role"] for side in ("prompt", "chosen", "rejected")] == ["user", "assistant", "assistant"]  # type: ignore[index]
    (correction,) = lines(tmp_path / "c" / "corrections.jsonl")
    assert correction["helpful"] == [{"node": 1, "text": "helps"}]


@pytest.mark.slow
def test_trl_takes_the_rows_for_conversations(curriculum: Curriculum, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    utilities = pytest.importorskip("trl.data_utils")
    curriculum.write(tmp_path / "c")
    for name in ("sft", "preferences"):
        rows = datasets.load_dataset("json", data_files=str(tmp_path / "c" / f"{name}.jsonl"), split="train")
        assert utilities.is_conversational(rows[0])


def test_a_full_disk_leaves_nothing_behind(
    curriculum: Curriculum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        curriculum.write(tmp_path / "c")
    assert caught.value.filename == str(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_not_written_over(curriculum: Curriculum, tmp_path: Path) -> None:
    curriculum.write(tmp_path / "c")
    with pytest.raises(ValueError, match="not empty"):
        curriculum.write(tmp_path / "c")


def test_an_empty_folder_is_filled(curriculum: Curriculum, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    curriculum.write(tmp_path / "c")
    assert Curriculum.read(tmp_path / "c") == curriculum


def test_a_file_that_was_changed_by_hand_is_refused(curriculum: Curriculum, tmp_path: Path) -> None:
    curriculum.write(tmp_path / "c")
    file = tmp_path / "c" / "sft.jsonl"
    file.write_text(file.read_text().replace("answer", "Answer"))
    with pytest.raises(ValueError, match=r"sft\.jsonl was changed"):
        Curriculum.read(tmp_path / "c")


@pytest.mark.parametrize("card", ["", "[]", '{"traces": "many"}'])
def test_a_card_that_is_none_is_refused(curriculum: Curriculum, tmp_path: Path, card: str) -> None:
    curriculum.write(tmp_path / "c")
    (tmp_path / "c" / "card.json").write_text(card)
    with pytest.raises(ValueError, match="is not the card"):
        Curriculum.read(tmp_path / "c")


def test_a_folder_without_a_curriculum_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Curriculum.read(tmp_path)


def test_parquet_holds_the_same_rows_and_the_card(curriculum: Curriculum, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    files = curriculum.to_parquet(tmp_path / "p")
    assert [file.name for file in files] == ["sft.parquet", "preferences.parquet", "corrections.parquet"]
    table = parquet.read_table(files[1])
    assert table.to_pylist() == curriculum.rows()["preferences"]
    assert json.loads(table.schema.metadata[b"ruvllm"])["id"] == curriculum.card.id


def test_the_card_counts_what_is_in_and_what_is_not(curriculum: Curriculum) -> None:
    card = curriculum.card
    assert card.counts == {"sft": 2, "preferences": 1, "corrections": 1}
    assert card.tags["difficulty"] == {"medium": 2} and card.made_by["domain"] == {"test": 2}
    assert (card.traces, card.left_out, card.options["seed"], len(card.files)) == (2, {}, 0, 3)
