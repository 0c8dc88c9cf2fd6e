"""One request from question to response, with a fake reader and embedder whose every step is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec
import pytest
from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder

from ruvllm.config import Config
from ruvllm.errors import EngineError, ModelMissing
from ruvllm.inference import Engine
from ruvllm.memory import Memory
from ruvllm.pipeline import AnswerStream, Pipeline, default_context
from ruvllm.types import GenerationOptions, Request, Response

QUESTION = "When does the supply ship arrive?"
TEXTS = [
    "The supply ship arrives every six weeks.",
    "Bread is baked on Fridays by the cook.",
    "Terns nest on the high cliffs.",
]
CONFIG = Config()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=CONFIG) as memory:
        memory.add(TEXTS)
        yield memory


def pipeline(memory: Memory, engine: Callable[[], Engine], config: Config = CONFIG) -> Pipeline:
    return Pipeline(memory, lambda: nullcontext(engine()), config)


def ask(pipeline: Pipeline, request: Request) -> Response:
    return AnswerStream(pipeline.run(request, lambda: False)).response


def test_stages_are_timed_and_the_route_is_the_stated_default(memory: Memory) -> None:
    response = ask(pipeline(memory, EchoEngine), Request(QUESTION))
    assert {"embed", "retrieve", "prompt", "generate", "first_token", "total"} <= response.timings_ms.keys()
    assert (response.route.model, response.route.decided_by) == ("echo", "default")
    assert response.confidence == pytest.approx(0.9)
    assert response.sources[0].text == TEXTS[0]


def test_the_engine_sees_the_sources_and_ends_on_the_question(memory: Memory) -> None:
    engine = EchoEngine()
    ask(pipeline(memory, lambda: engine), Request(QUESTION))
    content = engine.asked[0][-1].content
    assert TEXTS[0] in content and content.endswith(QUESTION)


def test_the_reader_is_held_until_the_stream_is_closed(memory: Memory) -> None:
    lease = _Lease()
    stream = AnswerStream(Pipeline(memory, lambda: lease, CONFIG).run(Request(QUESTION), lambda: False))
    next(stream)
    assert lease.is_held
    stream.close()
    assert not lease.is_held


class _Lease(AbstractContextManager[Engine]):
    is_held = False

    def __enter__(self) -> Engine:
        self.is_held = True
        return EchoEngine()

    def __exit__(self, *error: object) -> None:
        self.is_held = False


def test_an_unsure_reader_gives_way_to_the_best_passage(memory: Memory) -> None:
    unsure = EchoEngine(probability=0.2)
    response = ask(pipeline(memory, lambda: unsure), Request(QUESTION))
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert response.draft and response.confidence == pytest.approx(0.2)
    assert [s.text for s in response.sources if s.used] == [TEXTS[0]]


def test_an_answer_to_a_schema_is_never_replaced_by_a_passage(memory: Memory) -> None:
    options = GenerationOptions(json_schema={"type": "string"})
    response = ask(pipeline(memory, lambda: EchoEngine(probability=0.2)), Request(QUESTION, options=options))
    assert response.finish_reason != "extract" and response.draft is None


def test_no_reader_is_said_and_quoted_instead(memory: Memory) -> None:
    def missing() -> Engine:
        raise ModelMissing("model x is not in the cache", model="x")

    stream = AnswerStream(pipeline(memory, missing).run(Request(QUESTION), lambda: False))
    streamed, response = "".join(stream), stream.response
    assert streamed == response.text
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert response.route.model == "none" and "model x" in response.warnings[0]


def test_an_empty_memory_is_said(tmp_path: Path) -> None:
    with Memory(tmp_path / "empty", embedder=WordEmbedder(), config=CONFIG) as memory:
        response = ask(pipeline(memory, EchoEngine), Request(QUESTION))
        unsure = EchoEngine(probability=0.1)
        nothing = ask(pipeline(memory, lambda: unsure), Request(QUESTION))
    assert response.sources == () and "holds nothing" in response.warnings[0]
    assert nothing.text.startswith("I do not know")


class _FailingEngine(EchoEngine):
    def stream(self, *args: object, **kwargs: object) -> Iterator[object]:  # type: ignore[override]
        yield from list(super().stream(*args, **kwargs))[:1]  # type: ignore[arg-type]
        raise EngineError("the weights caught fire", engine=self.name)


def test_an_engine_that_fails_in_mid_stream_is_an_error_and_leaves_no_record(memory: Memory) -> None:
    stream = AnswerStream(pipeline(memory, _FailingEngine).run(Request(QUESTION, session="a"), lambda: False))
    with pytest.raises(EngineError, match="caught fire"):
        _ = stream.response
    memory.flush()
    assert memory.turns("a") == []


def test_cancelling_stops_between_tokens_and_leaves_no_record(memory: Memory) -> None:
    cancelled = threading.Event()
    stream = AnswerStream(pipeline(memory, EchoEngine).run(Request(QUESTION, session="a"), cancelled.is_set))
    next(stream)
    cancelled.set()
    assert stream.response.finish_reason == "cancelled"
    memory.flush()
    assert memory.turns("a") == []


def test_turns_of_the_session_are_in_the_next_prompt(memory: Memory) -> None:
    engine = EchoEngine()
    reader = pipeline(memory, lambda: engine)
    first = ask(reader, Request("Who bakes bread?", session="a"))
    ask(reader, Request("On which days?", session="a"))
    ask(reader, Request("On which days?", session="b"))
    asked = [[m.content for m in messages] for messages in engine.asked]
    assert "Who bakes bread?" in asked[1] and first.text in asked[1]
    assert "Who bakes bread?" not in asked[2]


def test_a_filter_limits_the_sources(memory: Memory) -> None:
    memory.add([{"text": "The supply ship is painted red.", "metadata": {"tags": ["paint"]}}])
    request = Request(QUESTION, filter={"tags": "paint"})
    response = ask(pipeline(memory, EchoEngine), request)
    assert [s.text for s in response.sources] == ["The supply ship is painted red."]


@pytest.mark.parametrize(
    ("query", "error"),
    [("", ValueError), (" \n", ValueError), ("\ud800", ValueError), (3, TypeError), (None, TypeError)],
)
def test_what_is_not_a_question_is_refused_before_any_work(memory: Memory, query: object, error: type) -> None:
    with pytest.raises(error, match="query"):
        ask(pipeline(memory, EchoEngine), Request(query))  # type: ignore[arg-type]


def test_context_grows_with_the_reader_and_the_question() -> None:
    options = GenerationOptions(max_new_tokens=64)
    small, large = EchoEngine(context_tokens=4096), EchoEngine(context_tokens=4096)
    small.parameters = 135_000_000
    assert default_context("why?", small, options, 0) < default_context("why?", large, options, 0)
    assert default_context("why? " * 400, small, options, 0) > 800
    assert default_context("why?", small, options, 700) == 700
    narrow = EchoEngine(context_tokens=200)
    assert default_context("why?", narrow, options, 0) == 136


def test_a_stream_that_was_closed_has_no_response(memory: Memory) -> None:
    stream = AnswerStream(pipeline(memory, EchoEngine).run(Request(QUESTION), lambda: False))
    next(stream)
    stream.close()
    stream.close()
    with pytest.raises(RuntimeError, match="closed"):
        _ = stream.response


def test_reading_only_still_answers(tmp_path: Path) -> None:
    with Memory(tmp_path / "b", embedder=WordEmbedder(), config=CONFIG) as memory:
        memory.add(TEXTS)
    config = msgspec.structs.replace(CONFIG)
    with Memory(tmp_path / "b", embedder=WordEmbedder(), config=config, read_only=True) as memory:
        response = ask(pipeline(memory, EchoEngine), Request(QUESTION))
    assert response.sources[0].text == TEXTS[0]
    assert any("not remembered" in warning for warning in response.warnings)


def test_an_answer_longer_than_the_window_is_refused_by_its_name(memory: Memory) -> None:
    options = GenerationOptions(max_new_tokens=10_000)
    with pytest.raises(ValueError, match="max_new_tokens"):
        ask(pipeline(memory, EchoEngine), Request(QUESTION, options=options))
