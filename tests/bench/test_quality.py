"""ruvllm/bench/quality.py: what counts as answered, and what the figures are the means of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ruvllm.bench.quality import COVERAGE, F1, GOLD, QUALITY, Item, Source, quality_rows, read_items, run
from ruvllm.bench.report import Row
from ruvllm.types import FinishReason, Response, Route

from . import village


def response(text: str, reason: FinishReason = "stop", quality: float | None = None, ms: float = 10.0) -> Response:
    source = "" if quality is None else "a judge"
    route = Route("reader", 2048, 0.0, 1.0)
    timings = {"total": ms}
    return Response("a1", "q", text, (), route, 0.9, reason, timings_ms=timings, quality=quality, quality_source=source)


def figures(found: list[tuple[Item, Response]]) -> dict[str, Row]:
    return {row.name.partition(", judged")[0]: row for row in quality_rows(found, "some.jsonl")}


def test_quoted_passages_are_asked_and_not_answered() -> None:
    item = Item("where?", ("in hut three",))
    found = figures([(item, response("In hut three.", quality=0.75)), (item, response("Hut four.", "extract", 0.25))])
    assert found[COVERAGE].value == 0.5
    assert (found[QUALITY].value, found["mean quality of all"].value) == (0.75, 0.5)
    assert found[F1].value == 1.0 and found["token F1 of all"].value < 1.0


def test_the_best_of_the_accepted_answers_counts_and_unknown_ones_do_not() -> None:
    rows = [(Item("q", ("hut four", "hut three")), response("hut three")), (Item("q"), response("whatever"))]
    found = figures(rows)
    assert (found[F1].value, found[GOLD].value) == (1.0, 1)


def test_without_a_judge_quality_is_unknown() -> None:
    rows = quality_rows([(Item("q"), response("a"))], "some.jsonl")
    judged = next(row for row in rows if row.name.startswith(QUALITY))
    assert math.isnan(judged.value) and judged.name.endswith("judged by nobody")


def test_data_reader_and_judge_are_named() -> None:
    rows = quality_rows([(Item("q"), response("a", quality=0.5))], "some.jsonl")
    assert rows[0].name == "questions of some.jsonl, asked of reader"
    assert any(row.name.endswith("judged by a judge") for row in rows)


def test_intervals_are_over_dialogues() -> None:
    of = {"c0": 0.0, "c1": 1.0}
    rows = [(Item("q", conversation=c), response("a", quality=q)) for c, q in of.items() for _ in range(50)]
    assert figures(rows)[QUALITY].interval == (0.0, 1.0)


def test_latency_is_of_the_whole_request() -> None:
    rows = figures([(Item("q"), response("a", ms=float(ms))) for ms in range(101)])
    assert rows["latency p50"].value == 50.0 and rows["latency p95"].value == 95.0


def test_rows_may_have_one_answer_several_or_none(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": 3}, {"question": "b", "answers": ["x", "y"], "conv": "c"}, {"question": "d"}]
    file = tmp_path / "q.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_items(file) == [Item("a", ("3",)), Item("b", ("x", "y"), "c"), Item("d")]


@pytest.mark.parametrize("line", ["", '{"answer": "x"}\n', "no json\n"])
def test_damaged_or_empty_data_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "q.jsonl").write_text(line)
    with pytest.raises(ValueError, match=r"q\.jsonl"):
        read_items(tmp_path / "q.jsonl")


@pytest.mark.parametrize("given", [{}, {"brain": Path("a"), "corpus": Path("b")}])
def test_one_source_is_asked(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of brain, corpus and turns"):
        Source(**given)


@pytest.mark.real
def test_a_corpus_is_asked_with_the_real_reader(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    corpus, questions = village.write(tmp_path)
    rows = {row.name: row.value for row in run(questions, Source(corpus=corpus), limit=3).rows}
    assert rows["questions of questions.jsonl, asked of smollm2-135m"] == 3
    assert 0.0 <= rows[COVERAGE] <= 1.0 and rows["latency p50"] > 0.0


@pytest.mark.real
def test_dialogues_are_asked_one_by_one(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    turns, asked = village.write_dialogues(tmp_path)
    assert run(asked, Source(turns=turns), limit=4).rows[0].value == 4
