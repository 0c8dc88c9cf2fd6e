"""The fixed set that students are tested on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ruvllm.tuning.validation import HoldoutDataset, HoldoutItem, is_held_out
from ruvllm.types import Message


def item(id: str, question: str = "Who?", answer: str = "Ada") -> HoldoutItem:
    return HoldoutItem(id, (Message("user", question),), (answer,))


def test_a_question_is_always_on_the_same_side() -> None:
    assert is_held_out("Who wrote it?", 0.5) == is_held_out("who  wrote the it", 0.5)
    share = sum(is_held_out(f"question {i}", 0.2) for i in range(2000)) / 2000
    assert share == pytest.approx(0.2, abs=0.03)
    assert not is_held_out("Who?", 0.0) and is_held_out("Who?", 1.0)


def test_the_hash_is_of_the_content_in_any_order() -> None:
    a, b = item("a"), item("b", "Where?")
    assert HoldoutDataset((a, b)).sha256 == HoldoutDataset((b, a)).sha256
    assert HoldoutDataset((a, b)).sha256 != HoldoutDataset((a, item("b", "When?"))).sha256


@pytest.mark.parametrize("name", ["holdout.jsonl", "holdout.jsonl.gz"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    written = HoldoutDataset((HoldoutItem("x", item("a").messages, ("yes",), ("yes", "no")), item("a")))
    written.write(tmp_path / name)
    assert HoldoutDataset.read(tmp_path / name, sha256=written.sha256) == written


def test_an_edited_holdout_is_not_the_one_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "holdout.jsonl"
    HoldoutDataset((item("a"),)).write(path)
    wanted = HoldoutDataset.read(path).sha256
    path.write_text(path.read_text().replace("Ada", "Bob"))
    with pytest.raises(ValueError, match="not the holdout"):
        HoldoutDataset.read(path, sha256=wanted)


@pytest.mark.parametrize(
    ("row", "texts", "answers", "choices"),
    [
        ({"id": 1, "question": "Who?", "answers": ["Ada", "A. L."]}, ("Who?",), ("Ada", "A. L."), ()),
        ({"question": "Who?", "answer": "Ada", "context": "Ada did."}, ("Ada did.\nWho?", "Who?"), ("Ada",), ()),
        (
            {"prompt": "Look.\nWhich?", "choices": ["x", "y"], "reference": "y"},
            ("Look.\nWhich?\nx\ny", "Which?"),
            ("y",),
            ("x", "y"),
        ),
        ({"text": "wake me", "intent": "alarm"}, ("wake me",), ("alarm",), ("alarm",)),
    ],
)
def test_public_sets_are_read_as_they_are(
    tmp_path: Path, row: dict, texts: tuple[str, ...], answers: tuple[str, ...], choices: tuple[str, ...]
) -> None:
    path = tmp_path / "public.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    (found,) = HoldoutDataset.read(path).items
    assert (found.messages[0].content, found.answers, found.choices) == (texts[0], answers, choices)
    assert HoldoutDataset.read(path).texts() == texts


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"title": "x"}',
        '{"messages": "x", "answers": ["y"]}',
        '{"question": "Who?", "answers": "Ada"}',
        '{"question": "Who?", "answers": {"text": ["Ada"], "answer_start": [0]}}',
        '{"question": "How many?", "answer": 4}',
        '{"prompt": "Which?", "choices": "xy", "reference": "y"}',
        '{"text": "wake me", "intent": 3}',
    ],
)
def test_rows_of_other_forms_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "holdout.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match="holdout"):
        HoldoutDataset.read(path)


def test_items_must_be_there_and_differ() -> None:
    with pytest.raises(ValueError, match="needs items"):
        HoldoutDataset(())
    with pytest.raises(ValueError, match="two holdout items"):
        HoldoutDataset((item("a"), item("a", "Where?")))
    with pytest.raises(ValueError, match="among choices"):
        HoldoutItem("a", item("a").messages, ("maybe",), ("yes", "no"))


def test_a_part_is_the_same_every_time() -> None:
    whole = HoldoutDataset(tuple(item(f"{i}", f"Question {i}?") for i in range(50)))
    assert whole.part(10) == whole.part(10) and len(whole.part(10)) == 10
    assert set(whole.part(5).items) <= set(whole.part(10).items)
