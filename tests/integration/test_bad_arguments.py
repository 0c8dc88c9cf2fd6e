"""Every public method with what it cannot take, and with ids of another namespace: refused by name, nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from memory.fakes import WordEmbedder

import ruvllm
from ruvllm.memory.concepts import Concept
from ruvllm.types import EdgeType

from .parts import QUESTION, Configure

pytestmark = [pytest.mark.integration]

LONE = "\ud800"
HUGE = "x" * 300_000
NO_TEXT: list[object] = [3, -1, True, 1.5, b"x", [], {}, object(), "", " ", LONE, 10**30]
NO_NUMBER: list[object] = [-1, True, 1.5, float("nan"), b"x", [], {}, object(), "", LONE, HUGE, -(10**30)]
NO_TEXTS: list[object] = [3, True, 1.5, "x", b"x", {}, object(), [3], [None], [""], [LONE]]
NO_REASON: list[object] = [None, 3, True, b"x", [], object(), " ", LONE]
NO_CALL: list[object] = [None, 3, True, "x", [], {}, object()]
NO_SHARE: list[object] = [-1, True, float("nan"), "x", b"x", [], {}, object()]
NO_OBJECT: list[object] = [3, True, 1.5, b"x", [3], object(), " ", LONE, HUGE]

Call = Callable[[ruvllm.RuvLLM, str, Any], object]
REFUSED: dict[str, tuple[Call, list[object], str]] = {
    "ingest": (lambda llm, id, bad: llm.ingest(bad), [None, 3, True, {}, object(), "", " ", LONE], "sources"),
    "ask query": (lambda llm, id, bad: llm.ask(bad), [None, HUGE, *NO_TEXT], "query"),
    "ask session": (lambda llm, id, bad: llm.ask("Why?", session=bad), [HUGE, *NO_TEXT], "session"),
    "ask key": (lambda llm, id, bad: llm.ask("Why?", key=bad), [None, HUGE, *NO_TEXT], "key"),
    "ask k": (lambda llm, id, bad: llm.ask("Why?", k=bad), NO_NUMBER, "k must"),
    "ask filter": (lambda llm, id, bad: llm.ask("Why?", filter=bad), NO_OBJECT, "filter"),
    "ask options": (lambda llm, id, bad: llm.ask("Why?", options=bad), NO_OBJECT, "options"),
    "ask constraints": (lambda llm, id, bad: llm.ask("Why?", constraints=bad), NO_OBJECT, "constraints"),
    "ask timeout_s": (lambda llm, id, bad: llm.ask("Why?", timeout_s=bad), [0, True, "2", *NO_NUMBER[4:]], "timeout_s"),
    "stream": (lambda llm, id, bad: llm.stream(bad).response, [None, HUGE, *NO_TEXT], "query"),
    "aask": (lambda llm, id, bad: asyncio.run(llm.aask(bad)), [None, LONE], "query"),
    "retrieve query": (lambda llm, id, bad: llm.retrieve(bad), [None, *NO_TEXT], "query"),
    "retrieve k": (lambda llm, id, bad: llm.retrieve("Why?", bad), [None, *NO_NUMBER], "k must"),
    "retrieve filter": (lambda llm, id, bad: llm.retrieve("Why?", filter=bad), NO_OBJECT, "filter"),
    "retrieve session": (lambda llm, id, bad: llm.retrieve("Why?", session=bad), NO_TEXT, "session"),
    "retrieve hops": (lambda llm, id, bad: llm.retrieve("Why?", hops=bad), NO_NUMBER, "hops"),
    "retrieve as_of": (lambda llm, id, bad: llm.retrieve("Why?", as_of=bad), [LONE, HUGE, b"x", object()], "as_of"),
    "feedback id": (lambda llm, id, bad: llm.feedback(bad, rating=5), [None, HUGE, "a1", *NO_TEXT], "id"),
    "feedback rating": (lambda llm, id, bad: llm.feedback(id, rating=bad), NO_NUMBER, "rating"),
    "feedback quality": (lambda llm, id, bad: llm.feedback(id, quality=bad), [True, "1", *NO_NUMBER[2:]], "quality"),
    "feedback success": (lambda llm, id, bad: llm.feedback(id, task_success=bad), [1, "yes", b"x"], "task_success"),
    "feedback correction": (lambda llm, id, bad: llm.feedback(id, correction=bad), NO_TEXT, "correction"),
    "feedback helped": (lambda llm, id, bad: llm.feedback(id, helped=bad), [3, None, [9], [LONE], [None]], "helped"),
    "feedback rater": (lambda llm, id, bad: llm.feedback(id, rating=5, rater=bad), [None, *NO_TEXT], "rater"),
    "judge_outcome id": (lambda llm, id, bad: llm.judge_outcome(bad, "t", 0.5), [None, "a1", *NO_TEXT], "id"),
    "judge_outcome tier": (lambda llm, id, bad: llm.judge_outcome(id, bad, 0.5), [None, HUGE, *NO_TEXT], "tier"),
    "judge_outcome quality": (lambda llm, id, bad: llm.judge_outcome(id, "t", bad), NO_NUMBER, "quality"),
    "why": (lambda llm, id, bad: llm.why(bad), [HUGE, "a1", *NO_TEXT], "id"),
    "judge question": (lambda llm, id, bad: llm.judge(bad, "x"), [None, HUGE, *NO_TEXT], "question"),
    "judge answer": (lambda llm, id, bad: llm.judge("Why?", bad), [None, *NO_TEXT[:8], *NO_TEXT[9:]], "answer"),
    "judge sources": (lambda llm, id, bad: llm.judge("Why?", "x", sources=bad), NO_TEXTS, "sources"),
    "train_judge": (lambda llm, id, bad: llm.train_judge(cancelled=bad), NO_CALL, "cancelled"),
    "compress": (lambda llm, id, bad: llm.compress(cancelled=bad), NO_CALL, "cancelled"),
    "compress dry": (lambda llm, id, bad: llm.compress(cancelled=bad, dry_run=True), NO_CALL, "cancelled"),
    "rollback": (lambda llm, id, bad: llm.rollback(bad), [None, HUGE, "unknown", *NO_TEXT], "name"),
    "start_trial": (lambda llm, id, bad: llm.start_trial(bad), [None, HUGE, "unknown", *NO_TEXT], "student"),
    "start_trial why": (lambda llm, id, bad: llm.start_trial("x", why=bad), NO_REASON, "why"),
    "rollback_student": (lambda llm, id, bad: llm.rollback_student(bad), [HUGE, "unknown", *NO_TEXT], "tier"),
    "rollback_student why": (lambda llm, id, bad: llm.rollback_student(why=bad), NO_REASON, "why"),
    "rollout_report": (lambda llm, id, bad: llm.rollout_report(bad), [None, HUGE, "unknown", *NO_TEXT], "student"),
    "worker.run": (lambda llm, id, bad: llm.worker.run(bad), [None, HUGE, "unknown", *NO_TEXT], "name"),
    "worker.run cancelled": (lambda llm, id, bad: llm.worker.run("decay", bad), NO_CALL, "cancelled"),
    "metrics.value": (lambda llm, id, bad: llm.metrics().value(bad), [None, *NO_TEXT], "name"),
    "ingest on_progress": (lambda llm, id, bad: llm.ingest(["x"], on_progress=bad), NO_CALL[1:], "on_progress"),
    "open path": (lambda llm, id, bad: ruvllm.open(bad), [None, *NO_TEXT, "a\0b"], "path"),
    "open model": (lambda llm, id, bad: ruvllm.open(llm.path, model=bad), NO_TEXT, "model"),
    "open config": (lambda llm, id, bad: ruvllm.open(llm.path, config=bad), NO_OBJECT, "config"),
    "open namespace": (lambda llm, id, bad: ruvllm.open(llm.path, namespace=bad), [None, *NO_TEXT], "namespace"),
    "open embedder": (lambda llm, id, bad: ruvllm.open(llm.path, embedder=bad), NO_OBJECT, "embedder"),
    "open open_engine": (lambda llm, id, bad: ruvllm.open(llm.path, open_engine=bad), NO_CALL, "open_engine"),
    "open quality_floor": (lambda llm, id, bad: ruvllm.open(llm.path, quality_floor=bad), NO_SHARE, "quality_floor"),
    "open risk": (lambda llm, id, bad: ruvllm.open(llm.path, risk=bad), NO_SHARE, "risk"),
    "open confidence": (lambda llm, id, bad: ruvllm.open(llm.path, confidence=bad), NO_SHARE, "confidence"),
    "open latency_sla_ms": (lambda llm, id, bad: ruvllm.open(llm.path, latency_sla_ms=bad), NO_SHARE, "latency_sla_ms"),
    "forget": (lambda llm, id, bad: llm.forget(bad), [None, HUGE, "unknown", *NO_TEXT], "source"),
    "history": (lambda llm, id, bad: llm.history(bad), [None, *NO_TEXT], "session"),
    "history limit": (lambda llm, id, bad: llm.history("a", bad), [None, *NO_NUMBER], "limit"),
    "new_session": (lambda llm, id, bad: llm.new_session(bad), [HUGE, *NO_TEXT], "name"),
    "delete_session": (lambda llm, id, bad: llm.delete_session(bad), [None, HUGE, "unknown", *NO_TEXT], "name"),
    "train_router": (lambda llm, id, bad: llm.train_router(), [None], "models.tiers"),
    "rollback_router": (lambda llm, id, bad: llm.rollback_router(), [None], "models.tiers"),
    "certify_router": (lambda llm, id, bad: llm.certify_router(), [None], "models.tiers"),
}


@pytest.mark.parametrize(("call", "values", "name"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_refused_by_its_name_and_changes_nothing(
    brain: Path, configure: Configure, call: Call, values: list[object], name: str
) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        answer = llm.ask(QUESTION, session="alice")
        llm.flush()
        before = llm.stats()
        for bad in values:
            with pytest.raises((TypeError, ValueError), match=rf"^{name}\b"):
                call(llm, answer.id, bad)
        llm.flush()
        after = llm.stats()
        assert (after.nodes, after.interactions, after.feedback) == (before.nodes, before.interactions, before.feedback)
        assert llm.check().ok and llm.ask(QUESTION, session="alice").text


def test_ids_of_another_namespace_are_unknown(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        answer = llm.ask(QUESTION, session="alice")
        source, memory = llm.memory.sources()[0].source, llm.memory
        concept = memory.put_concept(Concept("What the texts say."), {1: 1.0, 2: 1.0})
        traced = len(memory.traces())
        assert concept is not None and memory.among([1])[0].any() and memory.turns("alice")
    with ruvllm.open(brain, config=configure(), namespace="other") as llm:
        memory = llm.memory
        uses: list[Callable[[], object]] = [
            lambda: llm.feedback(answer.id, rating=1),
            lambda: llm.judge_outcome(answer.id, answer.route.tier, 0.5),
            lambda: llm.forget(source),
            lambda: llm.delete_session("alice"),
            lambda: memory.promote(1),
            lambda: memory.revoke(1),
            lambda: memory.set_trust(source, 0.5),
            lambda: memory.insert_edge(1, 2, EdgeType.CITES),
            lambda: memory.apply_outcome([1, 2], 1.0),
            lambda: memory.add_outcomes(answer.id, []),
            lambda: memory.routed(answer.id),
            lambda: llm.why(answer.id),
        ]
        for use in uses:
            with pytest.raises(ValueError, match=r"there is no|nothing here|nothing is logged|nothing is known"):
                use()
        for look in (memory.get, memory.neighbours, memory.neighbourhood, memory.co_retrieved, memory.dissolve_concept):
            with pytest.raises(KeyError, match=str(concept)):
                look(concept)
        with pytest.raises(KeyError, match="1"):
            memory.rehydrate([1, 2])
        assert llm.retrieve(QUESTION, session="alice") == [] and llm.history("alice") == []
        assert memory.texts([1, 2]) == {} and not memory.among([1, 2])[0].any()
        assert memory.put_concept(Concept("Another text."), {1: 1.0}, replaces=concept) is None
        assert memory.sessions() == memory.turns("alice") == memory.traces() == memory.timings() == []
        assert memory.count_turns("alice") == 0 and memory.answer_vector(answer.id) is None
    with ruvllm.open(brain, config=configure()) as llm:
        assert len(llm.memory.sources()) == 3 and llm.memory.interaction(answer.id).feedback is None
        assert llm.memory.get(concept).text == "What the texts say." and len(llm.memory.traces()) == traced


def test_a_concept_takes_the_place_of_none_of_another_namespace(tmp_path: Path) -> None:
    with ruvllm.Memory(tmp_path / "b", embedder=WordEmbedder()) as memory:
        fact = memory.insert_node("A fact of all.")
        concept = memory.put_concept(Concept("The old words."), {fact: 1.0})
    with ruvllm.Memory(tmp_path / "b", embedder=WordEmbedder(), namespace="other") as memory:
        own = memory.insert_node("A fact of ours.")
        assert memory.put_concept(Concept("The new words."), {own: 1.0}, replaces=concept) not in (None, concept)
    with ruvllm.Memory(tmp_path / "b", embedder=WordEmbedder()) as memory:
        assert memory.get(concept).text == "The old words."


@pytest.mark.parametrize("use", ["ask", "retrieve", "sessions", "new_session", "expire_sessions", "stats", "learn"])
def test_what_is_closed_says_so(brain: Path, configure: Configure, use: str) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        pass
    arguments = [QUESTION] if use in ("ask", "retrieve") else []
    with pytest.raises(ValueError, match=f"{brain} is closed"):
        getattr(llm, use)(*arguments)


def test_what_is_closed_says_so_to_a_task_that_was_answered_before(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        asyncio.run(llm.aask(QUESTION))
    with pytest.raises(ValueError, match=f"{brain} is closed"):
        asyncio.run(llm.aask(QUESTION))
