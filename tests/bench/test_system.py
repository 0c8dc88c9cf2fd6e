"""The bench of a whole brain, on a tiny corpus with readers that quote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm.bench import replay, system
from ruvllm.bench.cache import Cache
from ruvllm.bench.corpora import Question
from ruvllm.bench.quoting import open_quoting
from ruvllm.bench.replay import Replay
from ruvllm.bench.system import HONEST, RATED_BY, RATERS, START, Stream
from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.types import GenerationOptions, Message

from . import village
from .test_benches import values

STREAM = Stream(("http://quoting/v1#small", "http://quoting/v1#large"), rated=4, held_out=4, rounds=2)
CHEESE = Question("q", "What is Brookford famous for?", ("cheese",), ())


@pytest.fixture(autouse=True)
def _quoting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "open_engine", open_quoting)


def test_every_life_is_measured_on_the_same_questions(tmp_path: Path) -> None:
    found = values(system.run(*village.write(tmp_path), village.settings(orders=1), STREAM).report)
    for name in (START, *RATERS):
        assert 0.0 < found[f"{name}, recall@10"] <= 1.0
    assert found["without any rating, change of recall@10"] == 0.0
    assert found["cost of an answer, of that at the start"] > 0.0


def test_users_may_want_short_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RATED_BY["says"]("They make cheese there.", CHEESE) == 1.0
    assert RATED_BY["f1"]("They make cheese there.", CHEESE) == pytest.approx(0.4)
    monkeypatch.setitem(RATED_BY, "f1", lambda answer, question: 0.2)
    stated = []
    monkeypatch.setattr(system.RuvLLM, "feedback", lambda llm, id, quality, rater: stated.append(quality))
    system.run(*village.write(tmp_path), village.settings(orders=1), replace(STREAM, rated_by="f1"))
    assert {round(quality, 9) for quality in stated[: STREAM.rated]} == {0.2}
    assert {round(quality, 9) for quality in stated} <= {0.2, 0.8}


def test_the_curve_begins_before_the_first_rating_and_ends_after_the_last(tmp_path: Path) -> None:
    learnt = system.run(*village.write(tmp_path), village.settings(orders=1), STREAM)
    assert [count for count, _ in learnt.curves["token F1"]] == [0, 2, 4]
    assert learnt.curves["token F1"][-1][1] == values(learnt.report)[f"{HONEST}, token F1"]
    assert "rated answers" in learnt.plot()


@pytest.mark.parametrize("options", [{"tiers": ()}, {"rated": 0}, {"held_out": 0}, {"rounds": 5}])
def test_a_stream_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    given = {"tiers": ("one",), "rated": 4, **options}
    with pytest.raises(ValueError, match=next(iter(options))):
        Stream(**given)  # type: ignore[arg-type]


def test_questions_about_another_corpus_are_refused(tmp_path: Path) -> None:
    corpus, questions = village.write(tmp_path)
    corpus.write_text('{"pid": "other", "text": "Nothing of it."}\n')
    with pytest.raises(ValueError, match="0 questions with gold passages"):
        system.run(corpus, questions, village.settings(), STREAM)


def test_a_prompt_is_answered_once(tmp_path: Path) -> None:
    asked = [Message("user", "[1] The ship is red.")]
    with Cache(tmp_path) as cache, Replay(cache) as kept:
        engine = kept.open("small", GenerationConfig(), ModelsConfig())
        pieces = [list(engine.stream(asked, GenerationOptions())) for _ in range(2)]
        first = kept.last
    assert pieces[0] == pieces[1]
    assert pieces[0][0].text == "The ship is red."
    with Cache(tmp_path) as cache, Replay(cache) as kept:
        list(kept.open("small", GenerationConfig(), ModelsConfig()).stream(asked, GenerationOptions()))
        assert kept.last == first  # with the time that it took when it was made
