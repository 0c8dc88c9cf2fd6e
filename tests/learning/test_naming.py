"""ruvllm/learning/naming.py: what can be said of a passage is what stands in it."""

from __future__ import annotations

import pytest

from ruvllm.learning.naming import MAX_PHRASES, names_in, phrases_of

from .scripted import ScriptedEngine

TEXT = "The old mill of Arden burned in 1871. Nobody wept."


def said(text: str, engine: ScriptedEngine, max_names: int = 5) -> list[str] | None:
    return names_in(engine, text, max_names=max_names, max_new_tokens=64)


def test_phrases_are_runs_of_words_that_can_be_names() -> None:
    assert phrases_of("The old mill of Arden") == ["old mill", "old mill of Arden", "mill", "mill of Arden", "Arden"]


def test_phrases_do_not_go_beyond_what_separates_words() -> None:
    found = phrases_of(TEXT)
    assert "Nobody wept" in found and not any("1871. Nobody" in phrase for phrase in found)


@pytest.mark.parametrize("text", ["", "?!", "of the and", "1984 12", "a"])
def test_a_passage_without_phrases_costs_no_model(text: str) -> None:
    engine = ScriptedEngine('["of"]')
    assert (said(text, engine), engine.calls) == ([], 0)


def test_very_many_phrases_are_cut() -> None:
    assert len(phrases_of(" ".join(f"word{i}" for i in range(3000)))) == MAX_PHRASES


def test_names_come_once_and_are_not_more_than_asked_for() -> None:
    engine = ScriptedEngine('["Arden", "Arden", "old mill", "mill"]')
    assert said(TEXT, engine, max_names=2) == ["Arden", "old mill"]


def test_whole_names_of_an_answer_that_was_cut_off_count() -> None:
    assert said(TEXT, ScriptedEngine('["Arden", "old mi')) == ["Arden"]


@pytest.mark.parametrize("answer", ["", "[]", "Arden", '{"\\q": 1}', '["arden"]', '["\\ud800"]'])
def test_what_is_no_answer_names_nothing(answer: str) -> None:
    assert said(TEXT, ScriptedEngine(answer)) == []


def test_a_passage_that_does_not_fit_the_model_is_shortened() -> None:
    engine = ScriptedEngine('["word0"]')
    engine.context_tokens = 150
    assert said(" ".join(f"word{i}" for i in range(300)), engine) == ["word0"]


def test_a_model_too_small_for_any_passage_names_nothing() -> None:
    engine = ScriptedEngine('["Arden"]')
    engine.context_tokens = 8
    assert (said(TEXT, engine), engine.calls) == ([], 0)
