"""Files of outcomes become a table, and what is wrong in them is named."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.bench.routers.table import choose_models, question_key, read_questions, with_scores

from . import rows


def read(tmp_path: Path, line: str) -> list[Any]:
    path = tmp_path / "rows.jsonl"
    path.write_text(line)
    return read_questions([path])


def test_models_stand_in_order_of_cost(tmp_path: Path) -> None:
    table = rows.table(tmp_path, rows.planted(20, cost_usd={"small-1b": 0.03, "large-7b": 0.01}))
    assert table.names == ["large-7b", "small-1b"] and table.cost_unit == "USD"
    np.testing.assert_allclose(table.outcomes.cost[0], [0.01, 0.03])


def test_size_in_the_name_stands_for_a_cost_that_is_not_given(tmp_path: Path) -> None:
    table = rows.table(tmp_path, [{"prompt": "a", "score": {"mix-8x7B-v0.1": 0, "Qwen2.5-1.5B-it": 1}}] * 2)
    assert [tier.parameters for tier in table.outcomes.tiers] == [1_500_000_000, 56_000_000_000]
    assert table.cost_unit == "billions of parameters"


def test_without_cost_or_size_models_stand_in_order_of_mean_score(tmp_path: Path) -> None:
    table = rows.table(tmp_path, [{"prompt": "a", "score": {"gpt-4": 1, "gpt-3": 0}}] * 2)
    assert table.names == ["gpt-3", "gpt-4"] and table.cost_unit is None


def test_choices_belong_to_the_text(tmp_path: Path) -> None:
    questions = read(tmp_path, '{"prompt": "Which?", "choices": ["red", "blue"], "score": {"a": 1}}')
    assert questions[0].text == "Which? red blue"


def test_the_same_question_has_one_key_however_it_is_written() -> None:
    assert question_key("What is 2 + 2?\nA. 3\nB. 4\nAnswer:") == question_key("what is 2 + 2? ")
    assert question_key("What is 2 + 2?") != question_key("What is 2 + 3?")


def test_files_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "a", "benchmark": "b", "score": {"m": 0.5}}\n'))
    assert read_questions([path])[0].benchmark == "b"


def test_topics_are_benchmarks_where_subjects_have_few_rows(tmp_path: Path) -> None:
    lines = [line | {"benchmark": "b", "subject": f"s{i}"} for i, line in enumerate(rows.planted(20))]
    other = [line | {"benchmark": "c"} for line in rows.planted(20, seed=1)]
    assert set(rows.table(tmp_path, lines + other).topics) == {"b", "c"}
    assert len(set(rows.table(tmp_path, lines).topics)) == 20


def test_rows_that_lack_a_score_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [{"prompt": "a", "score": {"m": 1, "n": None}}, {"prompt": "b", "score": {"m": 1, "n": 0}}]
    questions = read_questions([rows.write(tmp_path / "r.jsonl", lines)])
    with caplog.at_level(logging.WARNING):
        assert [q.text for q in with_scores(questions, ["m", "n"])] == ["b"]
    assert "1 of 2 rows lack the score" in caplog.text


def test_models_that_share_no_row_are_refused(tmp_path: Path) -> None:
    lines = [{"prompt": "a", "score": {"m": 1}}, {"prompt": "b", "score": {"n": 0}}]
    questions = read_questions([rows.write(tmp_path / "r.jsonl", lines)])
    with pytest.raises(ValueError, match=r"no row has a score of every model \(m, n\)"):
        with_scores(questions, ["m", "n"])


def test_one_model_is_nothing_to_route_between(tmp_path: Path) -> None:
    questions = read(tmp_path, '{"prompt": "a", "score": {"m": 1}}')
    with pytest.raises(ValueError, match=r"two models are the least to route between \(m\)"):
        choose_models(questions, None)


def test_a_model_that_is_in_no_row_is_named(tmp_path: Path) -> None:
    questions = read(tmp_path, '{"prompt": "a", "score": {"m": 1, "n": 0}}')
    with pytest.raises(ValueError, match="no row has a score of 'o'; the models are m, n"):
        choose_models(questions, ["m", "o"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not JSON", "line 1: JSON is malformed"),
        ('{"prompt": "a"}', "line 1: no 'score'"),
        ('{"prompt": "a", "score": {"m": NaN}}', "line 1: JSON is malformed"),
        ('{"prompt": "a", "score": 1}', "line 1: score must be an object"),
        ('{"prompt": "a", "score": {"m": "good"}}', "line 1: score of 'm' must be a number"),
        ('{"prompt": "a", "score": {"m": 10}}', r"line 1: score of 'm' must be in \[0, 1\] \(10\)"),
        ('{"prompt": "a", "score": {"m": 1}, "cost_usd": {"m": -1}}', "line 1: cost must be finite and >= 0"),
        ('{"prompt": 3, "score": {"m": 1}}', "line 1: prompt must be a text"),
        ('{"prompt": "a", "score": {"m": 1}, "probe": {"margin": 1}}', "line 1: probe must be an object of numbers"),
        ("", "no rows in"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, line)


def test_probes_are_in_every_row_or_in_none(tmp_path: Path) -> None:
    lines = rows.planted(4, probe=rows.probe(0.25))
    np.testing.assert_allclose(rows.table(tmp_path, lines).probes, [[0.9, 0.25, 1.0, -3.0, 12.0]] * 4)
    del lines[0]["probe"]
    with pytest.raises(ValueError, match=r"probe must be in every row or in none \(3 of 4\)"):
        rows.table(tmp_path, lines)
