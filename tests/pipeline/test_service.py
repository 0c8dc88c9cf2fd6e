"""The pipeline between callers: limits, sessions, deadlines, cancellation, the judge."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from inference.fakes import EchoEngine

from ruvllm.errors import DeadlineExceeded, RateLimited
from ruvllm.inference import Engine
from ruvllm.judging import Answered, Judgement
from ruvllm.memory import Memory
from ruvllm.orchestrator import Deadline
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.pipeline import pipeline as pipeline_module
from ruvllm.types import Request

from .parts import QUESTION, CountingEngine, FixedJudge, SlowEngine, ask, config, never, pipeline, stocked
from .test_pipeline import ROUTED, TEXTS, TIERS, _Chooses


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with stocked(tmp_path / "brain") as memory:
        yield memory


# -- limits ------------------------------------------------------------------------------------------------------------


def test_requests_over_the_limit_are_refused_before_any_work(memory: Memory) -> None:
    engine = CountingEngine()
    line = pipeline(memory, engine, limits__requests_per_minute=2)
    for _ in range(2):
        ask(line)
    with pytest.raises(RateLimited) as caught:
        ask(line)
    assert engine.calls == 2 and 0 < caught.value.retry_after_s <= 30
    assert ask(line, key="somebody else").text


def test_tokens_of_earlier_answers_are_counted(memory: Memory) -> None:
    line = pipeline(memory, limits__tokens_per_minute=10)
    response = ask(line)
    assert response.prompt_tokens + response.completion_tokens > 10
    with pytest.raises(RateLimited, match="tokens_per_minute"):
        ask(line)


def test_tokens_of_a_closed_stream_are_counted(memory: Memory) -> None:
    line = pipeline(memory, limits__tokens_per_minute=3)
    stream = AnswerStream(line.run(Request(QUESTION), never))
    for _ in range(3):
        next(stream)
    stream.close()
    with pytest.raises(RateLimited, match="tokens_per_minute"):
        ask(line)


def test_a_stream_closed_after_its_first_word_has_taken_the_prompt(memory: Memory) -> None:
    line = pipeline(memory, limits__tokens_per_minute=10)
    stream = AnswerStream(line.run(Request(QUESTION), never))
    next(stream)
    stream.close()
    with pytest.raises(RateLimited, match="tokens_per_minute"):
        ask(line)


def test_a_write_back_over_its_limit_is_answered_and_not_remembered(memory: Memory) -> None:
    line = pipeline(memory, limits__writebacks_per_minute=1)
    first, second = ask(line), ask(line)
    memory.flush()
    assert first.warnings == () and second.text
    assert second.warnings == ("record: limits.writebacks_per_minute is used up: this answer is not remembered",)
    assert memory.stats().interactions == 1


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_request_routing_respects_session(memory: Memory) -> None:
    engine = CountingEngine()
    line = pipeline(memory, engine)
    ask(line, "Who bakes the bread?", session="alice")
    ask(line, "And when?", session="bob")
    ask(line, "And when?", session="alice")
    ask(line, "And when?")
    sent = ["\n".join(message.content for message in messages) for messages in engine.asked]
    assert ["Who bakes the bread?" in prompt for prompt in sent] == [True, False, True, False]


def test_fifty_threads_on_one_session_are_all_answered_one_after_another(memory: Memory) -> None:
    line, answered, failed = pipeline(memory), [], []

    def one(number: int) -> None:
        try:
            answered.append(ask(line, f"What is number {number}?", session="crowd").query)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.flush()
    assert failed == [] and [turn.query for turn in memory.turns("crowd", 100)] == answered
    assert len(set(answered)) == 50 and memory.stats().interactions == 50


def test_who_began_a_stream_waits_for_who_reads_it(memory: Memory) -> None:
    line = pipeline(memory, SlowEngine())
    stream, read = AnswerStream(line.run(Request(QUESTION, session="alice"), never)), []
    next(stream)

    def reads() -> None:
        read.append(next(stream))
        has_read.set()
        read.extend(stream)

    has_read = threading.Event()
    reader = threading.Thread(target=reads)
    reader.start()
    assert has_read.wait(30)
    assert ask(line, "And then?", session="alice").text
    reader.join(30)
    memory.flush()
    assert [turn.query for turn in memory.turns("alice")] == [QUESTION, "And then?"]


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_deadline_that_has_passed_is_refused_before_any_work(memory: Memory) -> None:
    engine = CountingEngine()
    with pytest.raises(DeadlineExceeded) as caught:
        ask(pipeline(memory, engine), timeout_s=1e-9)
    assert (caught.value.stage, engine.calls) == ("load", 0)


def test_a_deadline_during_generation_gives_the_answer_so_far(memory: Memory) -> None:
    line = pipeline(memory, SlowEngine())
    response = ask(line, session="alice", timeout_s=0.5)
    memory.flush()
    assert response.finish_reason == "deadline" and 0 < len(response.text) < 200
    assert response.warnings == ("generate: timeout_s = 0.5 was over: this is as much as there was",)
    assert memory.turns("alice") == []


def test_a_deadline_before_the_first_word_is_an_error(memory: Memory) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        ask(pipeline(memory, SlowEngine(word_s=0.4)), timeout_s=0.3)
    assert caught.value.stage == "generate"


def test_waiting_for_the_session_counts(memory: Memory) -> None:
    line = pipeline(memory)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            ask(line, session="alice", timeout_s=0.05)
        except BaseException as error:
            caught.append(error)

    with line.sessions.turn("alice", cancelled=never, timeout_s=1.0):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(30)
    assert isinstance(caught[0], DeadlineExceeded) and caught[0].stage == "session"
    assert ask(line, session="alice").text  # and the session is free


def test_waiting_for_a_model_counts(memory: Memory) -> None:
    waits: list[float | None] = []

    def lend(tier: str, *, timeout_s: float | None, **_: Any) -> nullcontext[Engine]:
        waits.append(timeout_s)
        threading.Event().wait(timeout_s)
        raise TimeoutError("in use")

    with pytest.raises(DeadlineExceeded) as caught:
        ask(Pipeline(memory, lend, config()), timeout_s=0.05)
    assert caught.value.stage == "load" and waits[0] is not None and 0 < waits[0] <= 0.05


def test_a_wait_for_a_model_ends_when_nobody_wants_the_answer(memory: Memory) -> None:
    asked = iter([False] * 10)

    def lend(tier: str, cancelled: Callable[[], bool], **_: Any) -> nullcontext[Engine]:
        while not cancelled():
            pass
        raise CancelledError

    with pytest.raises(CancelledError):
        ask(Pipeline(memory, lend, config()), cancelled=lambda: next(asked, True))
    assert next(asked, None) is None


def test_a_deadline_does_not_send_the_question_to_the_next_tier(memory: Memory) -> None:
    slow = {tier: SlowEngine(word_s=0.4, name=tier) for tier in TIERS}
    line = Pipeline(memory, lambda tier, **_: nullcontext(slow[tier]), ROUTED, router=_Chooses("small"))
    with pytest.raises(DeadlineExceeded):
        ask(line, timeout_s=0.3)
    assert [len(slow[tier].asked) for tier in TIERS] == [1, 0, 0]


def test_a_deadline_that_is_far_away_changes_nothing(memory: Memory) -> None:
    line = pipeline(memory)
    assert ask(line, timeout_s=600).text == ask(line).text


# -- every stage -------------------------------------------------------------------------------------------------------

STAGES = ("session", "cache", "embed", "retrieve", "route", "load", "prompt", "generate")


class _Watched:
    """A pipeline of several tiers that keeps which stages had begun when a part of theirs was called."""

    def __init__(self, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[str] = []
        self.engine = CountingEngine()
        router = _Chooses("large")
        settings = config(models__tiers=TIERS, generation__model="small", cache__enabled=True)
        self.line = Pipeline(memory, self._lend, settings, router=router)
        assert self.line.cache is not None
        parts: dict[str, tuple[Any, str]] = {
            "session": (memory, "turns"),
            "cache": (self.line.cache, "get"),
            "embed": (memory, "encode"),
            "retrieve": (memory, "search"),
            "route": (router, "decide"),
            "prompt": (pipeline_module, "build_prompt"),
        }
        for stage, (owner, name) in parts.items():
            monkeypatch.setattr(owner, name, self._watched(stage, getattr(owner, name)))

    def _watched(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def part(*args: Any, **options: Any) -> Any:
            self.began.append(stage)
            return work(*args, **options)

        return part

    def _lend(self, tier: str, timeout_s: float | None, **_: Any) -> nullcontext[Engine]:
        self.began.append("load")
        return nullcontext(self.engine)


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_a_request_that_is_cancelled_in_a_stage_begins_no_later_one(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    watched = _Watched(memory, monkeypatch)
    with pytest.raises(CancelledError):
        ask(watched.line, session="alice", cancelled=lambda: stage in watched.began)
    assert watched.began[-1] == stage and watched.engine.calls == 0


@pytest.mark.parametrize(("stage", "next_one"), list(itertools.pairwise(STAGES)))
def test_a_deadline_that_passes_in_a_stage_names_the_next_one(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, stage: str, next_one: str
) -> None:
    watched = _Watched(memory, monkeypatch)
    monkeypatch.setattr(Deadline, "has_passed", property(lambda _: stage in watched.began))
    with pytest.raises(DeadlineExceeded) as caught:
        ask(watched.line, session="alice", timeout_s=600.0)
    assert (caught.value.stage, watched.began[-1], watched.engine.calls) == (next_one, stage, 0)


# -- cancellation ------------------------------------------------------------------------------------------------------


def test_what_is_cancelled_before_a_stage_does_not_begin_it(memory: Memory) -> None:
    engine = CountingEngine()
    with pytest.raises(CancelledError):
        ask(pipeline(memory, engine), cancelled=lambda: True)
    assert engine.calls == 0


# -- the judge ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answerable", "excused"), [(0.9, False), (0.1, True)])
def test_a_quoted_passage_is_excused_where_the_sources_do_not_answer(
    memory: Memory, answerable: float, excused: bool
) -> None:
    judge = FixedJudge(0.5, answerable=answerable)
    response = ask(pipeline(memory, EchoEngine(probability=0.2), judge=judge))
    assert response.finish_reason == "extract" and response.text.endswith(TEXTS[0])
    assert response.text.startswith("I cannot answer") == excused
    assert judge.shown[-1].answer == response.text


@pytest.mark.parametrize(
    ("answerable", "warnings"), [(0.05, ("judge: the sources seem to hold no answer",)), (0.2, ())]
)
def test_it_is_said_where_the_sources_seem_to_hold_no_answer(
    memory: Memory, answerable: float, warnings: tuple[str, ...]
) -> None:
    response = ask(pipeline(memory, judge=FixedJudge(0.5, answerable=answerable)))
    assert response.finish_reason == "stop" and response.warnings == warnings


def test_a_judge_sees_the_answer_and_its_word_is_in_the_response(memory: Memory) -> None:
    judge = FixedJudge(0.75)
    response = ask(pipeline(memory, judge=judge))
    (shown,) = judge.shown
    assert (response.quality, response.quality_source) == (0.75, "fixed") and "judge" in response.timings_ms
    assert (shown.query, shown.answer, shown.sources) == (QUESTION, response.text, response.sources)
    assert shown.query_vector is not None and shown.prompt_messages[-1].content.endswith(QUESTION)
    assert len(shown.logprobs) == response.completion_tokens


def test_a_judge_knows_when_nobody_waits_any_more(memory: Memory) -> None:
    is_cancelled: list[bool] = []
    judge = FixedJudge(0.75)
    ask(pipeline(memory, judge=judge), cancelled=lambda: bool(is_cancelled))
    is_too_late = judge.shown[0].is_too_late
    assert is_too_late is not None and not is_too_late()
    is_cancelled.append(True)
    assert is_too_late()


def test_without_a_judge_nothing_is_said(memory: Memory) -> None:
    response = ask(pipeline(memory))
    assert (response.quality, response.quality_source) == (None, "")


def test_a_judge_that_fails_costs_a_warning(memory: Memory) -> None:
    response = ask(pipeline(memory, judge=FixedJudge(ZeroDivisionError("no tokens"))))
    assert response.text and response.quality is None
    assert response.warnings == ("judge: nothing is said about quality: no tokens",)


def test_half_an_answer_is_not_judged(memory: Memory) -> None:
    judge = FixedJudge(0.75)
    ask(pipeline(memory, SlowEngine(), judge=judge), timeout_s=0.5)
    assert judge.shown == []


def test_a_judged_answer_given_again_has_its_quality(memory: Memory) -> None:
    judge = FixedJudge(0.75)
    line = pipeline(memory, judge=judge, cache__enabled=True)
    assert [ask(line).quality for _ in range(2)] == [0.75, 0.75] and len(judge.shown) == 1


def test_a_judge_that_learnt_judges_anew(memory: Memory) -> None:
    judge = FixedJudge(0.75)
    line = pipeline(memory, judge=judge, cache__enabled=True)
    ask(line)
    judge.says, judge.version = 0.25, 1
    assert [ask(line).quality for _ in range(2)] == [0.25, 0.25]


def test_an_answer_whose_judge_failed_is_not_given_again(memory: Memory) -> None:
    judge = FixedJudge(ZeroDivisionError("no tokens"))
    line = pipeline(memory, judge=judge, cache__enabled=True)
    ask(line)
    judge.says = 0.75
    assert ask(line).quality == 0.75


@pytest.mark.parametrize("router", [None, _Chooses("large")])
def test_an_answer_is_judged_when_its_model_is_given_back(memory: Memory, router: _Chooses | None) -> None:
    users: list[str] = []

    class Watching:
        version = 0

        def judge(self, answered: Answered) -> Judgement:
            return Judgement(float(len(users)), "users")

    @contextmanager
    def lend(tier: str, timeout_s: float | None, **_: Any) -> Iterator[EchoEngine]:
        users.append(tier)
        yield EchoEngine()
        users.remove(tier)

    assert ask(Pipeline(memory, lend, ROUTED, judge=Watching(), router=router)).quality == 0.0
