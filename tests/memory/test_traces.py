"""ruvllm/memory/traces.py, failures.py: prompts are kept, and go with any text that they are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.types import Interaction, Message, Route

from .fakes import interaction

QUESTION, PASSAGE = "What is an index?", "text1 words"


def asked(id: str = "a1", *, turns: tuple[Message, ...] = (), **fields: Any) -> Interaction:
    """A request that was shown node 2, the words of s1."""
    last = f"{QUESTION} Use this text:\n\n[1] {PASSAGE}\n\n{QUESTION}"
    prompt = (Message("system", "Answer."), *turns, Message("user", last))
    shown = {"source_ids": (2,), "used_ids": (2,), "prompt": prompt, "shown_texts": (PASSAGE,), "query": QUESTION}
    return interaction(id, **shown | {"created": time.time()} | fields)


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    memory = open_memory()
    memory.add({"text": f"text{i} words", "source": f"s{i}"} for i in range(3))
    return memory


def kept(memory: Memory) -> list[str]:
    return [one.id for one in memory.traces()]


def test_the_prompt_is_kept_as_it_was_sent_with_the_passages_in_it(memory: Memory) -> None:
    sent = asked(failures=("generate: small did not answer",))
    memory.record(sent)
    (found,) = memory.traces()
    assert (found.prompt, found.failures) == (sent.prompt, sent.failures)
    assert [(source.node, source.shown) for source in found.sources] == [(2, PASSAGE)]


def test_a_trace_names_the_student_that_answered(memory: Memory) -> None:
    memory.record(asked(route=Route("reader", 2048, 0.0, 1.0, student="s1")))
    (found,) = memory.traces()
    assert (found.model, found.student) == ("reader", "s1")


def test_passages_keep_the_order_of_their_numbers(memory: Memory) -> None:
    last = f"{QUESTION} Use this text:\n\n[2] text0 words\n\n[1] {PASSAGE}\n\n{QUESTION}"
    memory.record(asked(source_ids=(2, 1), shown_texts=(PASSAGE, "text0 words"), prompt=(Message("user", last),)))
    (found,) = memory.traces()
    assert [(source.node, source.shown) for source in found.sources] == [(2, PASSAGE), (1, "text0 words")]


def test_a_trace_goes_with_a_source_that_is_forgotten(memory: Memory) -> None:
    memory.record(asked())
    memory.forget("s1")
    assert kept(memory) == []
    assert memory._store.value("SELECT count(*) FROM traces") == 0


def test_a_trace_stays_when_another_source_is_forgotten(memory: Memory) -> None:
    memory.record(asked())
    memory.forget("s2")
    assert kept(memory) == ["a1"]


def test_a_source_that_was_forgotten_before_the_record_was_written_leaves_no_trace(memory: Memory) -> None:
    memory.forget("s1")
    memory.record(asked())
    assert kept(memory) == []


def test_a_trace_goes_with_its_session(memory: Memory) -> None:
    memory.record(asked())
    memory.delete_session("alice")
    assert memory._store.value("SELECT count(*) FROM traces") == 0


def test_a_trace_goes_with_the_source_of_an_earlier_turn_that_it_repeats(memory: Memory) -> None:
    memory.record(interaction("a0", query="And s0?", answer="text0 says so.", source_ids=(1,), created=time.time()))
    turns = (Message("user", "And s0?"), Message("assistant", "text0 says so."))
    memory.record(asked(turns=turns))
    memory.forget("s0")  # takes the earlier answer along, which is derived from it
    assert kept(memory) == []


def test_no_model_asked_leaves_no_trace(memory: Memory) -> None:
    memory.record(asked(prompt=()))
    assert kept(memory) == []


@pytest.mark.parametrize("section", [{"traces": False}, {"namespaces": ("support",)}])
def test_what_is_not_permitted_is_not_kept(open_memory: Callable[..., Memory], section: dict[str, Any]) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"tuning": section}))
    memory.record(asked(source_ids=(), used_ids=()))
    memory.record_failure("EngineError")
    assert (kept(memory), memory.failures()) == ([], [])


def test_old_prompts_are_deleted_by_compact(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"tuning": {"keep_days": 1.0}}))
    memory.record(asked("old", source_ids=(), created=time.time() - 2 * 86_400.0))
    memory.record(asked("new", source_ids=(), session="bob"))
    memory.flush()
    memory.compact()
    assert kept(memory) == ["new"]
    assert memory.interaction("old").query == QUESTION


def test_a_brain_with_traces_is_sound(memory: Memory) -> None:
    memory.record(asked())
    assert memory.check().findings == ()


def test_failures_are_kept_over_a_restart(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    memory.record_failure("DeadlineExceeded", "stage=generate", "small")
    memory.close()
    (found,) = open_memory().failures()
    assert (found.kind, found.detail, found.model) == ("DeadlineExceeded", "stage=generate", "small")


def test_a_full_disk_loses_failures_and_nothing_else(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise apsw.FullError

    memory.record_failure("EngineError")
    with monkeypatch.context() as patched:
        patched.setattr(memory._failures._store, "write", full)
        memory._failures.flush()
    assert memory.failures() == []
