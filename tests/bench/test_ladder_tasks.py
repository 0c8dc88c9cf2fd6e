"""Files become questions by the keys of their rows, and answers are right by an exact rule."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ruvllm.bench.ladder_tasks import contains, draw, last_number, read_tasks

PROBLEM = {"id": "p/0", "benchmark": "sums", "subject": "math", "prompt": "1 + 1?", "worked_solution": "2"}


SPLITS = (("a", "train"), ("oos", "val"), ("b", "val"))


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def requests(path: Path, n: int = 14) -> Path:
    return write(path, *({"id": i, "text": f"do {i}", "intent": f"thing_{i}", "domain": "d"} for i in range(n)))


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("It is in the Saxon Garden.", "The Saxon garden", True),
        ("Saxon", "Saxon Garden", False),
        ("Garden, Saxon", "Saxon Garden", False),
        ("In 1756", "175", False),
        ("", "Saxon Garden", False),
        ("anything", "the", False),
    ],
)
def test_a_short_answer_must_hold_the_words_of_the_reference(answer: str, reference: str, right: bool) -> None:
    assert contains(answer, reference) is right


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("3*4=12; 12+8=20. Answer: 20", "20", True),
        ("He pays $1,200.00.", "1200", True),
        ("20 of them, so 5", "20", False),
        ("4-9=-5", "-5", True),
        ("10-5", "5", True),
        ("about twenty", "20", False),
    ],
)
def test_a_problem_is_solved_by_the_last_number(answer: str, reference: str, right: bool) -> None:
    assert last_number(answer, reference) is right


def test_questions_come_with_their_passage_and_are_put_to_a_router_without(tmp_path: Path) -> None:
    passages = write(tmp_path / "p.jsonl", {"pid": "a", "title": "Hut", "text": "The sled is in hut three."})
    question = {"id": 7, "question": "Where is the sled?", "answers": ["hut three"], "gold_pid": "a"}
    (task,) = read_tasks([write(tmp_path / "xquad_en.jsonl", question), passages], seed=0)["xquad"]
    assert (task.id, task.subject, task.prompt) == ("xquad/7", "Hut", "Where is the sled?")
    assert "The sled is in hut three." in task.messages[-1].content
    assert task.score("in hut three") == 1


def test_choices_have_letters_and_one_is_right(tmp_path: Path) -> None:
    row = {"id": "m/1", "prompt": "Which is red?", "choices": ["sky", "blood"], "reference": "B", "subject": "colour"}
    (task,) = read_tasks([write(tmp_path / "quiz.jsonl", row)], seed=0)["quiz"]
    assert (task.choices, task.answers) == (("sky", "blood"), ("A", "B"))
    assert (task.score("B"), task.score("A")) == (1, 0)


def test_ten_intents_are_offered_among_them_the_right_one(tmp_path: Path) -> None:
    tasks = read_tasks([requests(tmp_path / "intents.jsonl")], seed=0)["intents"]
    assert all(len(set(task.answers)) == 10 and task.references[0] in task.answers for task in tasks)
    assert len({task.answers.index(task.references[0]) for task in tasks}) > 1
    assert tasks[3].references == ("thing 3",)


def test_requests_for_training_and_out_of_scope_are_not_asked(tmp_path: Path) -> None:
    rows = [{"id": i, "text": "t", "intent": name, "split": split} for i, (name, split) in enumerate(SPLITS)]
    (task,) = read_tasks([write(tmp_path / "i.jsonl", *rows)], seed=0)["i"]
    assert task.id == "2"


def test_a_larger_draw_begins_with_the_smaller_and_takes_benchmarks_in_turn(tmp_path: Path) -> None:
    files = [requests(tmp_path / "a.jsonl"), write(tmp_path / "b.jsonl", PROBLEM | {"reference": "2"})]
    tasks = read_tasks(files, seed=0)
    few, many = draw(tasks, 2, seed=3), draw(tasks, 5, seed=3)
    assert [task.benchmark for task in many] == ["a", "sums", "a", "a", "a", "a"]
    assert [task.id for task in few] == [task.id for task in many[:3]]


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: no file .*nothing\.jsonl"):
        read_tasks([tmp_path / "nothing.jsonl"], seed=0)


def test_an_unknown_kind_of_file_is_named_with_its_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: .*odd\.jsonl is no known benchmark: its rows have the keys colour"):
        read_tasks([write(tmp_path / "odd.jsonl", {"colour": "red"})], seed=0)


def test_an_empty_file_is_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no known benchmark"):
        read_tasks([write(tmp_path / "empty.jsonl")], seed=0)


def test_passages_alone_hold_no_questions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: the files hold no questions"):
        read_tasks([write(tmp_path / "p.jsonl", {"pid": "a", "text": "t"})], seed=0)


def test_questions_without_their_passage_are_refused(tmp_path: Path) -> None:
    question = {"id": 7, "question": "Where?", "answers": ["here"], "gold_pid": "a"}
    with pytest.raises(ValueError, match="asks about passage a, which is in none of the files"):
        read_tasks([write(tmp_path / "q.jsonl", question)], seed=0)


def test_a_row_without_a_key_is_refused(tmp_path: Path) -> None:
    rows = [PROBLEM | {"reference": "2"}, PROBLEM]
    with pytest.raises(ValueError, match=r"data: a row of .*sums\.jsonl has no 'reference'"):
        read_tasks([write(tmp_path / "sums.jsonl", *rows)], seed=0)


def test_two_questions_of_one_id_are_refused(tmp_path: Path) -> None:
    row = PROBLEM | {"reference": "2"}
    with pytest.raises(ValueError, match=r"data: .*sums\.jsonl holds a second question p/0"):
        read_tasks([write(tmp_path / "sums.jsonl", row, row)], seed=0)


def test_what_the_shared_data_holds_is_recognised(shared_dir: Path) -> None:
    names = ["qa/xquad_en_passages", "qa/xquad_en_questions", "text/clinc150"]
    names += ["routing/mmlu_pro_28models", "routing/gsm8k_49models"]
    tasks = read_tasks([shared_dir / "data" / f"{name}.jsonl.gz" for name in names], seed=0)
    assert {name: len(some) for name, some in tasks.items()} == {
        "xquad": 819,
        "clinc150": 3000,
        "mmlu_pro": 6532,
        "gsm8k": 862,
    }
    with gzip.open(shared_dir / "data" / "routing/gsm8k_49models.jsonl.gz", "rt") as file:
        solutions = [json.loads(line)["worked_solution"] for line in file]
    solved = [task.score(text) for task, text in zip(tasks["gsm8k"], solutions, strict=True)]
    assert all(solved)
