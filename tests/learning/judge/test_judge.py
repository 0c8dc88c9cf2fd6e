"""A quality in [0, 1], who says so, and what it was made of."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory.fakes import PATIENT

from ruvllm.learning.judge import Judge, LlmJudge
from ruvllm.learning.judge.judge import Calibrated
from ruvllm.router.calibration import Calibration

from .cases import answered, judge
from .graders import Grader


@PATIENT
@given(answer=st.text(max_size=60), text=st.text(max_size=60), logprob=st.floats(-50.0, 0.0))
def test_quality_judge_score_range(answer: str, text: str, logprob: float) -> None:
    for one in (answered(answer, text, logprobs=(logprob,)), answered(answer, sources=())):
        judgement = judge().judge(one)
        assert 0.0 <= judgement.quality <= 1.0 and judgement.source == "signals/1"


def test_what_the_source_says_is_better_than_what_it_does_not_say() -> None:
    assert judge().judge(answered("In hut three.")).quality > judge().judge(answered("In the blue barn.")).quality


def test_whether_there_is_an_answer_at_all_does_not_depend_on_the_answer() -> None:
    there, elsewhere = judge().judge(answered("In hut three.")), judge().judge(answered("In the blue barn."))
    gone = judge().judge(answered("In hut three.", "Terns nest on the cliffs."))
    assert there.signals["answerable"] == pytest.approx(elsewhere.signals["answerable"])
    assert there.signals["answerable"] > gone.signals["answerable"]


def test_a_calibration_is_applied_and_named() -> None:
    one = judge()
    one.calibrated = Calibrated(Calibration.fit(np.array([0.1, 0.9]), np.array([0.25, 0.25]), "isotonic"), 3)
    judgement = one.judge(answered())
    assert judgement.quality == 0.25 and judgement.source == "signals/1@3"


@pytest.mark.parametrize(("grade", "is_higher"), [(5, True), (1, False)])
def test_a_model_s_grade_moves_the_quality(grade: int, is_higher: bool) -> None:
    llm = LlmJudge(lambda _: nullcontext(Grader(f'{{"grade": {grade}}}')))
    judgement = judge(llm=llm).judge(answered("On Fridays."))
    assert judgement.source == "signals/1+llm" and judgement.signals["llm"] == (grade - 1) / 4
    assert (judgement.quality > judge().judge(answered("On Fridays.")).quality) is is_higher


def test_agreeing_answers_raise_the_quality() -> None:
    one: Judge = judge()
    agreed, alone = one.judge_with_samples(answered(), 1.0), one.judge(answered())
    assert agreed.quality == pytest.approx(0.5 * (alone.quality + 1.0)) and agreed.source == "signals/1+samples"
    with pytest.raises(ValueError, match="agreement must be in"):
        one.judge_with_samples(answered(), 1.5)
