"""Which traces are trained on, and how much they count."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from ruvllm.tuning import Curriculum, CurriculumBuilder, Passage
from ruvllm.types import Message

from .fakes import DAY_S, bad, trace


def left_out(*traces, **options):  # type: ignore[no-untyped-def]
    return dict(CurriculumBuilder().build([trace("kept"), *traces], **options).card.left_out)


def test_curriculum_upweights_hard_tasks() -> None:
    easy, hard = trace("easy", difficulty=0.2, quality=0.95), trace("hard", difficulty=0.9, quality=0.85)
    poor = trace("poor", difficulty=0.3, quality=0.60)
    curriculum = CurriculumBuilder().upweight_hard_tasks(True).filter_bad_quality(0.7).build([easy, hard, poor])
    assert curriculum.weight_for(hard) > curriculum.weight_for(easy) > 0.0
    assert not curriculum.contains(poor)
    assert curriculum.card.left_out == {"of bad quality": 1}


def test_hard_tasks_count_as_others_where_that_is_not_wanted() -> None:
    easy, hard = trace("easy", difficulty=0.0), trace("hard", difficulty=1.0)
    curriculum = CurriculumBuilder().upweight_hard_tasks(False).build([easy, hard])
    assert curriculum.weight_for(hard) == curriculum.weight_for(easy) == 1.0


def test_what_users_valued_counts_more_than_what_a_judge_did() -> None:
    judged, corrected = trace("judged", quality_source="judge"), bad("c", correction="so", standing="corrected")
    curriculum = CurriculumBuilder().build([judged, trace("rated"), corrected])
    weights = [curriculum.weight_for(one) for one in (judged, trace("rated"), corrected)]
    assert weights == sorted(weights) and weights[0] < weights[1] < weights[2]


def test_an_example_is_the_prompt_with_the_answer_a_user_gave() -> None:
    curriculum = CurriculumBuilder().build([bad("a", query="Which day?", correction="Friday", standing="corrected")])
    assert curriculum.sft[0].messages[-2:] == (Message("user", "Which day?"), Message("assistant", "Friday"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"standing": "probation"}, "on probation"),
        ({"standing": "revoked"}, "revoked"),
        ({"outcome": "contradictory"}, "of contradictory ratings"),
        ({"is_context_wrong": True}, "of wrong context"),
        ({"finish_reason": "extract"}, "of no model's own words"),
        ({"finish_reason": "length"}, "of answers cut off"),
        ({"quality": None, "outcome": "unknown"}, "of unknown quality"),
        ({"redacted": ("EMAIL",)}, "of redacted answers"),
        ({"created": 9 * DAY_S}, "older than the window"),
    ],
)
def test_what_must_not_be_learnt_is_left_out_and_counted(fields: dict[str, object], reason: str) -> None:
    assert left_out(trace("odd", **fields)) == {reason: 1}


def test_a_rating_and_its_opposite_for_the_same_answer_are_both_left_out() -> None:
    same = {"query": "Which day?", "response": "Friday"}
    assert left_out(trace("a", **same), bad("b", **same)) == {"of contradictory ratings": 2}


def test_of_nearly_the_same_example_the_newest_stays() -> None:
    text = "the keeper of the northern light lives in the white house on the hill above the harbour"
    older = trace("older", query="Where does the keeper live?", response=text)
    newer = trace("newer", query="Where does the keeper live?", response=f"{text}.", created=101 * DAY_S)
    curriculum = CurriculumBuilder().build([newer, older])
    assert [one.trace for one in curriculum.sft] == ["newer"]
    assert curriculum.card.left_out == {"repeats another": 1}


def test_questions_of_the_holdout_are_left_out_of_all_three_sets() -> None:
    passages = (Passage(1, "helps"),), (Passage(2, "misleads"),)
    held = bad(
        "held", query="Which day?", correction="Friday", standing="corrected", helped=passages[0], misled=passages[1]
    )
    curriculum = CurriculumBuilder().build([trace("kept"), held], holdout=["which day"])
    assert (len(curriculum.sft), curriculum.preferences, curriculum.corrections) == (1, (), ())
    assert curriculum.card.left_out == {"in the holdout": 1}


def test_no_traces_are_nothing_to_train_on() -> None:
    with pytest.raises(ValueError, match="traces: nothing to train on in 0 traces"):
        CurriculumBuilder().build([])


def test_where_nothing_is_left_the_error_says_why() -> None:
    with pytest.raises(ValueError, match="in 2 traces: 2 on probation"):
        CurriculumBuilder().build([bad("a"), bad("b")])


def test_the_same_traces_and_seed_give_the_same_bytes_in_whatever_order(tmp_path: Path) -> None:
    traces = [trace(f"a{i}", difficulty=i / 20) for i in range(20)] + [
        bad(f"c{i}", correction=f"right {i}", standing="corrected") for i in range(9)
    ]
    CurriculumBuilder().seed(7).build(traces).write(tmp_path / "one")
    Random(1).shuffle(traces)
    CurriculumBuilder().seed(7).build(traces).write(tmp_path / "other")
    for file in ("sft.jsonl", "preferences.jsonl", "corrections.jsonl", "card.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_another_seed_gives_another_order() -> None:
    traces = [trace(f"a{i}") for i in range(20)]
    one, other = (CurriculumBuilder().seed(seed).build(traces) for seed in (1, 2))
    assert one.card.id != other.card.id
    assert {example.trace for example in one.sft} == {example.trace for example in other.sft}


def test_a_curriculum_that_was_written_is_read_back_the_same(tmp_path: Path) -> None:
    helped, misled = (Passage(1, "Bread\u2028is baked."),), (Passage(2, "Terns nest."),)
    written = CurriculumBuilder().build(
        [trace("a"), bad("b", correction="ja: \u00fc \U0001f35e", standing="corrected", helped=helped, misled=misled)]
    )
    written.write(tmp_path / "new" / "curriculum")
    assert Curriculum.read(tmp_path / "new" / "curriculum") == written


@pytest.mark.parametrize("option", [{"filter_bad_quality": 1.5}, {"preference_margin": 0.0}, {"window_days": 0}])
def test_an_option_out_of_its_range_is_refused(option: dict[str, float]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(ValueError):
        getattr(CurriculumBuilder(), name)(value)
