"""A model as judge."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from inference.fakes import EchoEngine

from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.inference import open_engine
from ruvllm.learning.judge import LlmJudge

from .cases import PASSAGE, answered, judge
from .graders import Grader


def test_a_grade_is_asked_for_by_schema_with_question_answer_and_sources() -> None:
    grader = Grader('{"grade": 4}')
    assert LlmJudge(lambda _: nullcontext(grader)).grade(answered("In hut three.")) == 0.75
    prompt, options = grader.asked[0]
    assert PASSAGE in prompt and "In hut three." in prompt and options.json_schema is not None


@pytest.mark.parametrize("says", ["{", "[]", '{"grade": 9}', "null"])
def test_what_is_no_grade_counts_as_the_lowest(says: str) -> None:
    assert LlmJudge(lambda _: nullcontext(Grader(says))).grade(answered()) == 0.0


def test_a_grade_that_comes_too_late_is_none() -> None:
    llm = LlmJudge(lambda _: nullcontext(EchoEngine(context_tokens=4096)))
    with pytest.raises(TimeoutError, match="before there was a grade"):
        llm.grade(answered(is_too_late=lambda: True))


def test_a_judge_that_always_takes_the_first_prefers_neither() -> None:
    biased = LlmJudge(lambda _: nullcontext(Grader('{"better": "A"}')))
    assert biased.prefers_first("Say hello.", "Hello.", "Goodbye.") == 0.5


def test_a_judge_that_reads_prefers_the_better_one_in_both_orders() -> None:
    reads = Grader(lambda prompt: '{"better": "A"}' if "A: Hello" in prompt else '{"better": "B"}')
    llm = LlmJudge(lambda _: nullcontext(reads))
    assert llm.prefers_first("Say hello.", "Hello.", "Goodbye.") == 1.0
    assert llm.prefers_first("Say hello.", "Goodbye.", "Hello.") == 0.0


def test_a_judge_waits_for_its_model_only_as_long_as_somebody_waits_for_its_word() -> None:
    asked = iter([False] * 3)

    def lend(is_too_late: Callable[[], bool]) -> nullcontext[Grader]:
        while not is_too_late():
            pass
        raise CancelledError

    with pytest.raises(TimeoutError, match="before there was a model"):
        LlmJudge(lend).grade(replace(answered(), is_too_late=lambda: next(asked, True)))


@pytest.mark.real
def test_a_real_model_grades_by_schema(smollm2_dir: Path, models_config: ModelsConfig) -> None:
    pytest.importorskip("llguidance")
    engine = open_engine(str(smollm2_dir), GenerationConfig(), models_config)
    said = judge(llm=LlmJudge(lambda _: nullcontext(engine))).judge(answered())
    engine.close()
    assert said.source.endswith("+llm") and said.signals["llm"] in (0.0, 0.25, 0.5, 0.75, 1.0)
