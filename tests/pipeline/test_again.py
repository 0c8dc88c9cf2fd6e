"""ruvllm/pipeline/again.py: what is answered from the cache, and what never."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory.fakes import WordEmbedder

from ruvllm.memory import Memory
from ruvllm.memory.rows import vector_of
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.types import Constraints, Feedback, GenerationOptions, Request

from .parts import QUESTION, TEXTS, CountingEngine, FailingEmbedder, HaltingEngine, SlowEngine, ask, pipeline, stocked


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with stocked(tmp_path / "brain") as memory:
        yield memory


def caching(memory: Memory, engine: Any = None, **settings: Any) -> Pipeline:
    return pipeline(memory, engine, **{"cache__enabled": True} | settings)


def test_cache_hit_bypasses_processing(memory: Memory) -> None:
    engine = CountingEngine()
    line = caching(memory, engine)
    first = ask(line)
    encoded = memory._embedder().texts_encoded  # type: ignore[attr-defined]
    second = ask(line)
    assert engine.calls == 1 and memory._embedder().texts_encoded == encoded  # type: ignore[attr-defined]
    assert (second.cached, second.text, second.sources) == (True, first.text, first.sources)
    assert second.timings_ms.keys() == {"cache", "total"} and second.completion_tokens == 0


def test_cache_miss_triggers_full_pipeline(memory: Memory) -> None:
    line = caching(memory)
    ask(line)
    other = ask(line, "Who bakes the bread?")
    assert not other.cached and TEXTS[1] in {source.text for source in other.sources}
    assert {"embed", "retrieve", "prompt", "generate"} <= other.timings_ms.keys()


def test_a_hit_is_an_answer_of_its_own_that_can_be_rated(memory: Memory) -> None:
    line = caching(memory)
    first, second = ask(line), ask(line, session="alice")
    memory.feedback(second.id, Feedback(rating=5))
    record = memory.interaction(second.id)
    assert second.id != first.id and (record.answer, record.session) == (first.text, "alice")
    assert record.feedback == Feedback(rating=5) and memory.interaction(first.id).feedback is None


def test_recording_a_hit_embeds_nothing(memory: Memory) -> None:
    line = caching(memory)
    ask(line)
    memory.flush()
    encoded = memory._embedder().texts_encoded  # type: ignore[attr-defined]
    for _ in range(3):
        ask(line)
    memory.flush()
    assert memory._embedder().texts_encoded == encoded  # type: ignore[attr-defined]
    assert memory.stats().interactions == 4


def test_a_hit_is_as_private_as_the_answer_was(memory: Memory) -> None:
    memory.add([{"text": "The supply ship arrives with the spring tide.", "metadata": {"private": True}}])
    line = pipeline(memory, cache__enabled=True)
    asked = [ask(line, session=session) for session in ("s", "t")]
    memory.flush()
    assert [response.cached for response in asked] == [False, True]
    assert [turn.is_private for session in ("s", "t") for turn in memory.turns(session)] == [True, True]


def test_a_stream_of_a_hit_is_its_text(memory: Memory) -> None:
    line = caching(memory)
    text = ask(line).text
    assert list(AnswerStream(line.run(Request(QUESTION), lambda: False))) == [text]


CHANGES: dict[str, Any] = {
    "ingest": lambda memory: memory.add(["The supply ship now comes monthly."]),
    "forget": lambda memory: memory.forget(memory.sources()[0].source),
    "trust": lambda memory: memory.set_trust(memory.sources()[0].source, 0.5),
    "a correction": lambda memory: memory.feedback(
        memory.route_log()[0].id, Feedback(correction="It comes every month.")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_documents_is_seen(memory: Memory, change: Any) -> None:
    line = caching(memory)
    ask(line)
    change(memory)
    assert not ask(line).cached and ask(line).cached


def test_another_process_that_writes_is_noticed(memory: Memory, tmp_path: Path) -> None:
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), read_only=True) as reader:
        line = caching(reader)
        ask(line)
        assert ask(line).cached
        memory.add(["The supply ship now comes monthly."])
        anew = ask(line)
    assert not anew.cached and "The supply ship now comes monthly." in {source.text for source in anew.sources}


def test_another_process_that_hears_of_a_bad_answer_is_noticed(memory: Memory, tmp_path: Path) -> None:
    answered = ask(pipeline(memory))
    memory.flush()
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), read_only=True) as reader:
        line = caching(reader)
        ask(line)
        memory.feedback(answered.id, Feedback(rating=5))
        assert ask(line).cached
        memory.feedback(answered.id, Feedback(rating=1))
        assert not ask(line).cached and ask(line).cached


def test_an_answer_that_is_dropped_while_it_is_given_is_not_kept(memory: Memory) -> None:
    line = caching(memory)
    assert line.cache is not None
    stream = AnswerStream(line.run(Request(QUESTION), lambda: False))
    next(stream)
    line.cache.drop(QUESTION)
    assert stream.response.text
    assert not ask(line).cached and ask(line).cached


def test_a_new_ranking_answers_anew(memory: Memory) -> None:
    line = caching(memory)
    ask(line)
    memory.train_on_patterns([])
    assert not ask(line).cached


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 2},
        {"filter": {"source": "x"}},
        {"options": GenerationOptions(max_new_tokens=7)},
        {"constraints": Constraints(privacy="local")},
    ],
)
def test_what_is_asked_differently_is_answered_anew(memory: Memory, fields: dict[str, Any]) -> None:
    line = caching(memory)
    ask(line)
    assert not ask(line, **fields).cached and ask(line, **fields).cached


def test_a_conversation_that_went_on_is_answered_anew(memory: Memory) -> None:
    line = caching(memory)
    assert not ask(line, session="alice").cached
    assert not ask(line, session="alice").cached  # there is a turn now
    assert ask(line, session="bob").cached  # nobody said anything to bob yet


def test_equal_turns_of_different_sessions_do_not_share(memory: Memory) -> None:
    line = caching(memory)
    for session in ("alice", "bob"):
        ask(line, session=session)
        assert not ask(line, "Who bakes the bread?", session=session).cached


def test_namespaces_do_not_share(memory: Memory, tmp_path: Path) -> None:
    line = caching(memory)
    ask(line)
    with Memory(tmp_path / "other", embedder=WordEmbedder(), namespace="other") as other:
        assert not ask(caching(other)).cached


@pytest.mark.parametrize(("options", "again"), [({}, False), ({"seed": 3}, True)])
def test_a_sampled_answer_is_given_again_only_with_a_seed(memory: Memory, options: dict[str, Any], again: bool) -> None:
    line = caching(memory)
    sampled = GenerationOptions(temperature=1.0, **options)
    ask(line, options=sampled)
    assert ask(line, options=sampled).cached == again


def test_a_degraded_answer_is_not_given_again(tmp_path: Path) -> None:
    embedder = FailingEmbedder()
    with stocked(tmp_path / "brain", embedder=embedder) as memory:
        line = caching(memory)
        embedder.is_broken = True
        assert ask(line).warnings
        embedder.is_broken = False
        anew = ask(line)
    assert not anew.cached and not anew.warnings


def test_a_stopped_or_failed_answer_is_not_given_again(memory: Memory) -> None:
    line = caching(memory, SlowEngine())
    assert ask(line, timeout_s=0.2).finish_reason == "deadline"
    stream = AnswerStream(line.run(Request(QUESTION), lambda: False))
    next(stream)
    stream.close()
    assert not ask(line).cached
    failing = caching(memory, HaltingEngine())
    for _ in range(2):
        with pytest.raises(Exception, match="caught fire"):
            ask(failing)


def test_off_by_default(memory: Memory) -> None:
    line = pipeline(memory)
    ask(line)
    assert not ask(line).cached and line.cache is None


def test_another_wording_is_answered_again_only_when_switched_on(memory: Memory) -> None:
    wordings = ("When does the supply ship arrive?", "When does the usual supply ship arrive?")
    for similarity, expected in ((0.0, False), (0.8, True)):
        line = caching(memory, cache__similarity=similarity)
        ask(line, wordings[0])
        assert ask(line, wordings[1]).cached == expected
    assert not ask(line, "When does the supply ship not arrive?").cached
    assert not ask(line, "When does the supply ship leave?").cached


def test_the_record_of_another_wording_has_its_own_vector(memory: Memory) -> None:
    line = caching(memory, cache__similarity=0.8)
    ask(line, "When does the supply ship arrive?")
    other = ask(line, "When does the usual supply ship arrive?")
    memory.flush()
    record = memory.interaction(other.id)
    stored = memory._store.value("SELECT vector FROM vectors WHERE node = ?", (record.query_node,))
    assert other.cached and np.allclose(vector_of(stored), memory.encode([record.query])[0], atol=1e-6)


def test_a_hit_counts_as_a_request_and_costs_no_tokens(memory: Memory) -> None:
    line = caching(memory, limits__tokens_per_minute=1000)
    ask(line)
    left = line._limits._accounts["local"].left["tokens"]
    ask(line)
    assert line._limits._accounts["local"].left["tokens"] >= left


def test_what_was_said_about_recording_the_first_answer_is_not_repeated(memory: Memory) -> None:
    line = caching(memory, limits__writebacks_per_minute=1)
    first, second, third = ask(line), ask(line), ask(line)
    assert first.warnings == () and len(second.warnings) == len(third.warnings) == 1
