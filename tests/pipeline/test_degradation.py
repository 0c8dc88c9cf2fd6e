"""Parts that fail: the answer comes without them, and says so by the stage's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm.config import load_config
from ruvllm.errors import EngineError, ModelMissing
from ruvllm.memory import Memory
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.types import NodeType, Request

from .parts import QUESTION, TEXTS, CountingEngine, FailingEmbedder, HaltingEngine, ask, pipeline, stocked
from .test_pipeline import ROUTED, _Chooses, _Tiers


@pytest.fixture
def embedder() -> FailingEmbedder:
    return FailingEmbedder()


@pytest.fixture
def memory(tmp_path: Path, embedder: FailingEmbedder) -> Iterator[Memory]:
    with stocked(tmp_path / "brain", embedder=embedder) as memory:
        yield memory


def test_error_handling_returns_graceful_response(memory: Memory, embedder: FailingEmbedder) -> None:
    embedder.is_broken = True
    response = ask(pipeline(memory))
    assert response.finish_reason in ("stop", "length") and response.sources[0].text == TEXTS[0]
    assert response.warnings == (
        "embed: searched by words alone: out of memory",
        "record: without a vector this answer is not remembered",
    )


def test_without_an_embedder_a_small_reader_still_gets_the_nearest_sentences(
    memory: Memory, embedder: FailingEmbedder
) -> None:
    engine = CountingEngine()
    engine.parameters = 135_000_000
    embedder.is_broken = True
    ask(pipeline(memory, engine))
    assert TEXTS[0] in engine.asked[0][-1].content


def test_without_an_embedder_an_unsure_reader_gives_way_to_a_passage(memory: Memory, embedder: FailingEmbedder) -> None:
    embedder.is_broken = True
    response = ask(pipeline(memory, CountingEngine(probability=0.1)))
    assert response.finish_reason == "extract" and TEXTS[0] in response.text


def test_an_embedder_that_fails_later_costs_only_the_choice_of_sentences(
    memory: Memory, embedder: FailingEmbedder
) -> None:
    class Breaking(CountingEngine):
        def count_tokens(self, messages: Any) -> int:
            embedder.is_broken = True  # after the question was embedded
            return super().count_tokens(messages)

    response = ask(pipeline(memory, Breaking(probability=0.1)))
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert "prompt: sentences chosen by words alone: out of memory" in response.warnings


def test_a_ranking_that_fails_leaves_words_and_vectors(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def rank(*args: object) -> None:
        raise ValueError("params holds a NaN")

    memory.search("anything")
    monkeypatch.setattr(memory._lessons.engine(), "rank", rank, raising=False)
    response = ask(pipeline(memory))
    assert response.sources[0].text == TEXTS[0]
    assert response.warnings == ("retrieve: ranked without the graph: params holds a NaN",)


def test_vectors_that_fail_leave_words(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*args: object, **options: object) -> None:
        raise MemoryError

    memory.search("anything")
    monkeypatch.setattr(memory._nearest, "search", search)
    monkeypatch.setattr(memory._nearest.load(), "search", search, raising=False)
    response = ask(pipeline(memory))
    assert response.sources[0].text == TEXTS[0]
    assert response.warnings[-1] == "retrieve: searched by words alone: MemoryError"


def test_a_wrong_filter_is_the_callers_mistake_not_a_failure(memory: Memory) -> None:
    with pytest.raises(ValueError, match="unknown operator"):
        ask(pipeline(memory), filter={"n": {"about": 3}})


def test_a_deleted_index_is_said_and_costs_no_source(tmp_path: Path) -> None:
    overrides = {"index": {"exact_below": 10, "m": 8, "ef_construction": 64}}
    options = {"config": load_config(environment={}, overrides=overrides)}
    with stocked(tmp_path / "brain", **options) as memory:
        memory.add([f"The lamp number {i} hangs in the hall." for i in range(30)])
        memory.compact()
    for file in (tmp_path / "brain" / "index").glob("default.hnsw*"):
        file.unlink()
    with stocked(tmp_path / "brain", read_only=True, **options) as memory:
        response = ask(pipeline(memory))
    assert response.sources[0].text == TEXTS[0]
    assert response.warnings[0] == "retrieve: there is no index yet, every vector was looked at"


# -- who answers -------------------------------------------------------------------------------------------------------


class FailingRouter(_Chooses):
    def decide(self, *args: Any, **options: Any) -> Any:
        raise KeyError("no such feature")


def test_a_router_that_fails_leaves_the_default_tier(memory: Memory) -> None:
    tiers = _Tiers()
    response = ask(Pipeline(memory, tiers, ROUTED, router=FailingRouter()))
    assert tiers.lent == ["small"] and response.route.reason == "the router failed"
    assert response.warnings == ("route: the default tier answers: 'no such feature'",)


def test_a_router_that_fails_and_a_default_tier_that_is_down_leave_the_next(memory: Memory) -> None:
    tiers = _Tiers(small=EngineError("no memory", engine="small"))
    response = ask(Pipeline(memory, tiers, ROUTED, router=FailingRouter()))
    assert tiers.lent == ["small", "large"] and response.route.tier == "large"
    assert response.warnings[1] == "generate: small did not answer: no memory"


def test_without_a_vector_there_is_nothing_to_route_by(memory: Memory, embedder: FailingEmbedder) -> None:
    embedder.is_broken = True
    tiers = _Tiers()
    response = ask(Pipeline(memory, tiers, ROUTED, router=_Chooses("large")))
    assert tiers.lent == ["small"]
    assert [warning.partition(":")[0] for warning in response.warnings] == ["embed", "route", "record"]


def test_without_any_model_the_best_passage_is_quoted(memory: Memory) -> None:
    def missing(tier: str, *, timeout_s: float | None, **_: Any) -> Any:
        raise ModelMissing("model x is not in the cache", model="x")

    response = ask(Pipeline(memory, missing, ROUTED))
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert response.warnings == ("load: no model answered: model x is not in the cache",)


def test_a_model_that_fails_in_mid_sentence_is_an_error_after_what_it_said(memory: Memory) -> None:
    line = pipeline(memory, HaltingEngine())
    stream = AnswerStream(line.run(Request(QUESTION, session="alice"), lambda: False))
    assert next(stream)
    with pytest.raises(EngineError, match="caught fire"):
        next(stream)
    memory.flush()
    assert memory.turns("alice") == [] and memory.stats().on_probation == 0
    with pytest.raises(EngineError):  # and the session is free for the next one
        ask(line, session="alice")


# -- what is left behind -----------------------------------------------------------------------------------------------


def test_a_brain_that_only_reads_answers_and_says_that_it_does_not_learn(tmp_path: Path) -> None:
    with stocked(tmp_path / "brain"):
        pass
    with stocked(tmp_path / "brain", read_only=True) as memory:
        response = ask(pipeline(memory))
    assert response.warnings == ("record: the brain is open for reading only: this answer is not remembered",)


def test_answers_that_could_not_be_stored_are_told_to_the_next_caller_once(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(group: list[object]) -> int:
        return len(group)  # none of them could be stored

    monkeypatch.setattr(memory._writeback, "_commit", commit)
    line = pipeline(memory)
    warnings: list[tuple[str, ...]] = []
    for _ in range(2):
        warnings.append(ask(line).warnings)
        memory.flush()
        monkeypatch.undo()
    assert warnings[0] == () and warnings[1] == ("record: 1 earlier answers could not be stored; the log says why",)
    assert ask(line).warnings == ()
    assert memory.stats().nodes_by_type[NodeType.ANSWER] >= 1
