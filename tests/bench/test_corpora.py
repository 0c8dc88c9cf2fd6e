"""Corpora and questions in the documented form; a wrong line is named."""

import gzip
from pathlib import Path

import pytest

from ruvllm.bench.corpora import read_corpus, read_questions, sample


def test_reads_plain_and_gzipped_lines(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"pid": 7, "title": "T", "text": "x"}\n')
    with gzip.open(tmp_path / "q.jsonl.gz", "wt") as file:
        file.write('{"id": 1, "question": "q?", "answer": "a", "gold_pids": [7, 8]}\n')
        file.write('{"id": 2, "question": "r?", "answers": ["b", "c"], "gold_pid": 7}\n')
        file.write('{"id": 3, "question": "no answer?", "answer": null}\n')
    (passage,) = read_corpus(tmp_path / "c.jsonl")
    assert (passage.pid, passage.title, passage.text) == ("7", "T", "x")
    first, second = read_questions(tmp_path / "q.jsonl.gz")
    assert first.answers == ("a",) and first.gold_pids == ("7", "8")
    assert second.answers == ("b", "c") and second.gold_pids == ("7",)


@pytest.mark.parametrize("line", ["{", '{"pid": 1}', "[]"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text('{"pid": 1, "text": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        read_corpus(file)


def test_sample_is_seeded_and_without_replacement(shared_dir: Path) -> None:
    questions = read_questions(shared_dir / "data" / "qa" / "xquad_en_questions.jsonl.gz")
    drawn = sample(questions, 200, seed=0)
    assert len({q.id for q in drawn}) == 200
    assert drawn == sample(questions, 200, seed=0) != sample(questions, 200, seed=1)
