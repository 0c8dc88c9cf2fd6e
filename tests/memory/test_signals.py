"""ruvllm/memory/signals.py: asking again is weak evidence, labelled, and gives way to whatever is said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ruvllm.config import Config, load_config
from ruvllm.memory import Memory
from ruvllm.memory.signals import apply_signals, find_signals, is_reworded
from ruvllm.types import Feedback

from .fakes import interaction, routed

FIRST, SECOND = "Where is the rescue sled kept?", "Where is the rescue sled kept now?"
NOW = time.time()
FADED = 1e-4  # more than an edge of a year's half-life loses in an hour


def config(**signals: Any) -> Config:
    overrides = {"store": {"flush_interval_s": 3600.0}, "signals": {"enabled": True} | signals}
    return load_config(environment={}, overrides=overrides)


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    memory = open_memory(config=config())
    memory.add([{"text": f"source {name}", "source": name} for name in "ab"])
    return memory


def ask(memory: Memory, id: str, query: str, at: float, **fields: Any) -> None:
    """Record an answered question of `at` seconds after the first."""
    fields = {"source_ids": (1, 2), "used_ids": (2,), "session": "alice"} | fields
    memory.record(interaction(id, query=query, created=NOW - 100.0 + at, **fields))
    memory.flush()


def ask_twice(memory: Memory, *, apart_s: float = 20.0, again: str = SECOND, **fields: Any) -> None:
    ask(memory, "a1", FIRST, 0.0, **fields)
    ask(memory, "a2", again, apart_s, answer="Something else.", **fields)


def signals(memory: Memory) -> dict[str, tuple[str, float]]:
    return {id: (kind, q) for id, kind, q in memory._store.rows("SELECT interaction, signal, quality FROM signals")}


def cites(memory: Memory, id: str = "a1") -> tuple[float, int, int]:
    """Weight, successes and failures of the edge from an answer to the source that it used."""
    node = memory.interaction(id).answer_node
    sql = "SELECT weight, success, failure FROM edges WHERE src = ? AND dst = 2 AND type = 'Cites'"
    row: tuple[float, int, int] = memory._store.rows(sql, (node,))[0]
    return row


def test_asking_again_is_weak_evidence_against_the_first_answer(memory: Memory) -> None:
    ask_twice(memory)
    assert memory.notice_signals() == 1
    assert signals(memory) == {"a1": ("rephrase", pytest.approx(0.4))}
    weight, *counts = cites(memory)
    assert weight == pytest.approx(0.6 - 0.2 * 0.1 * 0.6, abs=FADED) and counts == [0, 0]
    assert cites(memory, "a2")[0] == pytest.approx(0.6)


def test_graph_in_memory_hears_of_a_signal(memory: Memory) -> None:
    ask_twice(memory)
    memory._links.load()
    memory.notice_signals()
    assert memory.check().ok
    assert memory._store.value("SELECT count(*) FROM edge_moves WHERE rater = 'implicit'") > 0


def test_a_signal_counts_once(memory: Memory) -> None:
    ask_twice(memory)
    memory.notice_signals()
    before = cites(memory)
    assert memory.notice_signals() == 0
    assert cites(memory) == before


@pytest.mark.parametrize(
    ("apart_s", "again"),
    [(200.0, SECOND), (20.0, "Who founded the station in that year?"), (20.0, "Where is the rescue sled not kept?")],
)
def test_another_question_or_a_later_one_is_no_signal(memory: Memory, apart_s: float, again: str) -> None:
    ask_twice(memory, apart_s=apart_s, again=again)
    assert memory.notice_signals() == 0


def test_questions_of_two_sessions_are_no_signal(memory: Memory) -> None:
    ask(memory, "a1", FIRST, 0.0)
    ask(memory, "a2", SECOND, 5.0, session="bob")
    assert memory.notice_signals() == 0


def test_who_asks_again_and_goes_away_gave_up(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=config(abandon_after_s=60.0))
    ask_twice(memory, source_ids=(), used_ids=())
    assert memory.notice_signals() == 2
    assert {id: kind for id, (kind, _) in signals(memory).items()} == {"a1": "rephrase", "a2": "abandon"}


def test_who_only_goes_away_said_nothing(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=config(abandon_after_s=1.0))
    ask(memory, "a1", FIRST, 0.0, source_ids=(), used_ids=())
    assert memory.notice_signals() == 0


@pytest.mark.parametrize("said", [Feedback(rating=5), Feedback(correction="In hut five.")])
def test_what_is_said_takes_the_place_of_a_signal(memory: Memory, open_memory: Any, tmp_path: Any, said: Any) -> None:
    other = open_memory(tmp_path / "other", config=config())
    other.add([{"text": f"source {name}", "source": name} for name in "ab"])
    for each in (memory, other):
        ask_twice(each)
    memory.notice_signals()
    for each in (memory, other):
        each.feedback("a1", said)
    assert signals(memory) == {}
    assert cites(memory) == pytest.approx(cites(other), abs=FADED)


def test_a_rated_answer_has_no_signal(memory: Memory) -> None:
    ask_twice(memory)
    memory.feedback("a1", Feedback(rating=4))
    assert memory.notice_signals() == 0


def test_a_session_that_is_deleted_meanwhile_costs_the_other_signals_nothing(memory: Memory) -> None:
    ask_twice(memory)
    for id, query, at in (("b1", FIRST, 0.0), ("b2", SECOND, 20.0)):
        ask(memory, id, query, at, session="bob")
    found = find_signals(memory._store, memory.namespace, memory.config.signals, NOW)
    memory.delete_session("alice")
    memory._store.write(lambda connection: apply_signals(connection, found, memory.config, NOW))
    assert [id for id, _ in found] == ["a1", "b1"] and signals(memory).keys() == {"b1"}


def test_no_router_and_no_promotion_hears_of_a_signal(memory: Memory) -> None:
    for i, query in enumerate((FIRST, SECOND)):
        memory.record(routed(f"a{i + 1}", query=query, created=NOW + i, source_ids=(1, 2), used_ids=(2,)))
    assert memory.notice_signals() == 1
    logged = memory.logged_outcomes(["small"], num_features=4, feature_version=1)
    assert logged.sources.tolist() == [[""], [""]]
    assert memory.interaction("a1").feedback is None
    assert memory.get(memory.interaction("a1").answer_node or 0).trust == pytest.approx(0.3)


def test_a_signal_survives_reopening_and_export(memory: Memory, open_memory: Any, tmp_path: Any) -> None:
    ask_twice(memory)
    memory.notice_signals()
    before = signals(memory)
    memory.export(tmp_path / "brain.jsonl")
    memory.close()
    assert signals(open_memory(config=config())) == before
    copy = open_memory(tmp_path / "copy", config=config())
    copy.import_file(tmp_path / "brain.jsonl")
    assert signals(copy) == before


@pytest.mark.parametrize(
    ("question", "other", "is_same"),
    [
        ("Who leads the station?", "Who is the leader of the station?", True),
        ("What happened in 2019?", "What happened in 2020?", False),
        ("Where does Ane Lund live?", "Where does Tomas Berg live?", False),
        ("Where does Ane Lund live?", "In which hut does ane lund live?", True),
        ("Is it open?", "Isn't it open?", False),
    ],
)
def test_near_questions_about_something_else(question: str, other: str, is_same: bool) -> None:
    assert is_reworded(question, other) is is_same
