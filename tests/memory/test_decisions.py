"""ruvllm/memory/decisions.py: what the router decided, what came of it, and what training reads of that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.config import load_config
from ruvllm.memory import LoggedOutcomes, Memory
from ruvllm.memory.rows import delete_nodes
from ruvllm.memory.schema import MIGRATIONS
from ruvllm.memory.store import Store
from ruvllm.types import Feedback, TierOutcome

from .fakes import WordEmbedder, decision, interaction, routed

TIERS = ("small", "large")


def outcomes(memory: Memory, tiers: tuple[str, ...] = TIERS, **options: Any) -> LoggedOutcomes:
    return memory.logged_outcomes(tiers, **({"num_features": 4, "feature_version": 1} | options))


def test_decision_and_outcome_are_read_back(memory: Memory) -> None:
    one = routed()
    memory.record(one)
    (logged,) = memory.route_log()
    assert (logged.id, logged.session, logged.query) == ("a1", "alice", one.query)
    assert (logged.decision, logged.outcomes) == (one.decision, (one.outcome,))
    assert memory.routed("a1") == logged


def test_log_is_newest_first_and_holds_what_is_asked_for(memory: Memory) -> None:
    for i in range(5):
        memory.record(routed(f"a{i}", created=float(i)))
    memory.record(interaction("no tier answered", created=9.0))
    assert [logged.id for logged in memory.route_log(2)] == ["a4", "a3"]


def test_unknown_answer_is_not_in_the_log(memory: Memory) -> None:
    with pytest.raises(ValueError, match="id: nothing is logged of an answer 'a9'"):
        memory.routed("a9")


def test_missing_outcome_is_missing_and_not_bad(memory: Memory) -> None:
    memory.record(routed())
    found = outcomes(memory)
    assert np.isnan(found.quality).all() and found.sources.tolist() == [["", ""]]
    np.testing.assert_array_equal(found.latency_ms, [[50.0, np.nan]])
    np.testing.assert_array_equal(found.cost, [[0.25, np.nan]])
    np.testing.assert_array_equal(found.propensity, [[0.75, 0.25]])


@pytest.mark.parametrize(
    ("feedback", "quality", "source"),
    [
        (Feedback(rating=4), 0.75, "user"),
        (Feedback(quality=0.5, task_success=True), 0.5, "user"),
        (Feedback(task_success=False), 0.0, "task"),
        (Feedback(rating=5, task_success=False), None, None),
        (Feedback(correction="Other words."), None, None),
    ],
)
def test_quality_comes_later_with_who_says_it(
    memory: Memory, feedback: Feedback, quality: float | None, source: str | None
) -> None:
    memory.record(routed())
    memory.feedback("a1", feedback)
    (outcome,) = memory.routed("a1").outcomes
    assert (outcome.quality, outcome.source, outcome.tokens) == (quality, source, 7)


def test_later_feedback_replaces_and_the_same_counts_once(memory: Memory) -> None:
    memory.record(routed())
    memory.feedback("a1", Feedback(rating=1))
    memory.feedback("a1", Feedback(rating=5))
    memory.feedback("a1", Feedback(rating=5))
    found = outcomes(memory)
    assert (len(found), found.quality[0].tolist()[0]) == (1, 1.0)
    memory.feedback("a1", Feedback(task_success=False))
    assert np.isnan(outcomes(memory).quality).all()


def test_feedback_for_an_unknown_answer_is_refused(memory: Memory) -> None:
    with pytest.raises(ValueError, match="there is no answer 'a9'"):
        memory.feedback("a9", Feedback(rating=5))


def test_features_come_with_what_existed_and_others_layouts_without(memory: Memory) -> None:
    memory.record(routed("a1", created=1.0))
    memory.record(routed("a2", created=2.0, query="Another question?"))
    found = outcomes(memory)
    np.testing.assert_array_equal(found.features[0], np.array([0.5, 0.0, -1.0, 2.0], np.float32))
    assert found.present[0].tolist() == [True, False, True, True]
    assert found.texts == ("What is an index?", "Another question?")
    np.testing.assert_allclose(found.vectors[1], WordEmbedder().encode(["Another question?"])[0])
    assert not outcomes(memory, feature_version=2).present.any()
    assert not outcomes(memory, num_features=8).present.any()


def test_turns_are_counted_within_their_session(memory: Memory) -> None:
    for i, session in enumerate(["one", "two", "one", None, "one"]):
        memory.record(routed(f"a{i}", session=session, created=float(i)))
    found = outcomes(memory)
    assert found.sessions == ("one", "two", "one", None, "one")
    assert found.turns.tolist() == [0, 0, 1, 0, 2]


def test_a_question_that_is_gone_teaches_nothing(memory: Memory) -> None:
    memory.record(routed())
    question = memory.interaction("a1").query_node or 0
    memory._store.write(lambda connection: delete_nodes(connection, [question]))
    assert len(outcomes(memory)) == 0
    assert memory.route_log()[0].query is None
    memory.feedback("a1", Feedback(rating=5))
    assert memory.check().findings == ()


def test_what_was_learnt_from_a_forgotten_text_goes_and_what_it_took_stays(memory: Memory) -> None:
    memory.add([{"text": "a source", "source": "a"}])
    memory.record(routed(source_ids=(1,), calibrates=True))
    memory.add_outcomes("a1", [TierOutcome("large", 0.5, 9.0, source="judge", answer="The words of the source.")])
    memory.feedback("a1", Feedback(rating=5))
    memory.forget("a")
    logged = memory.routed("a1")
    assert [(one.quality, one.answer) for one in logged.outcomes] == [(None, None), (None, None)]
    assert [one.latency_ms for one in logged.outcomes] == [50.0, 9.0]
    assert memory.check().findings == ()


def test_an_answer_that_nobody_saw_goes_with_its_sources(memory: Memory) -> None:
    memory.add([{"text": f"source {name}", "source": name} for name in "ab"])
    memory.record(routed(source_ids=(1,), calibrates=True))
    memory.add_outcomes("a1", [TierOutcome("large", 0.5, source="judge", answer="Of both.", source_ids=(1, 2))])
    assert memory.routed("a1").outcomes[1].source_ids == (1, 2)
    memory.forget("b")
    assert memory.routed("a1").outcomes[1] == TierOutcome("large")


def test_words_of_a_source_that_was_forgotten_meanwhile_are_not_kept(memory: Memory) -> None:
    memory.add([{"text": "a source", "source": "a"}])
    memory.record(routed(source_ids=(1,), calibrates=True))
    memory.flush()
    memory.forget("a")
    memory.add_outcomes("a1", [TierOutcome("large", latency_ms=9.0, answer="The words.", source_ids=(1,))])
    assert memory.routed("a1").outcomes[1] == TierOutcome("large", latency_ms=9.0)


def test_no_choice_is_certain(memory: Memory) -> None:
    memory.record(interaction(outcome=TierOutcome("small", latency_ms=5.0)))
    found = outcomes(memory)
    np.testing.assert_array_equal(found.propensity, [[1.0, np.nan]])
    assert not found.present.any() and memory.routed("a1").decision is None


def test_where_every_tier_answers_all_are_kept_and_certain(memory: Memory) -> None:
    memory.record(routed(calibrates=True))
    memory.add_outcomes("a1", [TierOutcome("large", latency_ms=90.0, answer="A long answer.")])
    memory.add_outcomes("a1", [TierOutcome("large", latency_ms=1.0)])
    memory.judge_outcome("a1", "large", 0.75)
    found = outcomes(memory)
    np.testing.assert_array_equal(found.latency_ms, [[50.0, 90.0]])
    np.testing.assert_array_equal(found.propensity, [[1.0, 1.0]])
    np.testing.assert_array_equal(found.quality, [[np.nan, 0.75]])
    assert (found.shown.tolist(), found.calibrates.tolist()) == ([[True, False]], [True])
    assert memory.routed("a1").outcomes[1].answer == "A long answer."


def test_feedback_is_about_the_answer_that_was_shown(memory: Memory) -> None:
    memory.record(routed(tier="large", calibrates=True))
    memory.add_outcomes("a1", [TierOutcome("small", latency_ms=9.0)])
    memory.feedback("a1", Feedback(rating=5))
    np.testing.assert_array_equal(outcomes(memory).quality, [[np.nan, 1.0]])


def test_a_judge_gives_way_to_a_user(memory: Memory) -> None:
    memory.record(routed())
    assert memory.judge_outcome("a1", "small", 0.5)
    memory.feedback("a1", Feedback(correction="Other words."))
    assert memory.routed("a1").outcomes[0].quality == 0.5
    memory.feedback("a1", Feedback(rating=1))
    assert not memory.judge_outcome("a1", "small", 0.9)
    assert memory.routed("a1").outcomes[0].quality == 0.0


@pytest.mark.parametrize("quality", [float("nan"), 1.5, -0.1])
def test_quality_out_of_range_is_refused(memory: Memory, quality: float) -> None:
    memory.record(routed())
    with pytest.raises(ValueError, match="quality"):
        memory.judge_outcome("a1", "small", quality)
    assert memory.routed("a1").outcomes[0].quality is None


def test_outcomes_of_unknown_tiers_and_answers_are_refused(memory: Memory) -> None:
    memory.record(routed())
    with pytest.raises(ValueError, match="outcomes: 'a1' had no choice of a tier 'huge'"):
        memory.add_outcomes("a1", [TierOutcome("huge", latency_ms=1.0)])
    with pytest.raises(ValueError, match="tier: 'large' did not answer 'a1'"):
        memory.judge_outcome("a1", "large", 0.5)
    with pytest.raises(ValueError, match="there is no answer 'a9'"):
        memory.add_outcomes("a9", [TierOutcome("large", latency_ms=1.0)])


def test_tiers_that_are_no_longer_there_are_left_out(memory: Memory) -> None:
    memory.record(routed("a1", created=1.0))
    memory.record(routed("a2", tier="large", created=2.0))
    found = outcomes(memory, ("large", "new"))
    assert found.ids == ("a2",)
    np.testing.assert_array_equal(found.propensity, [[0.25, np.nan]])


def test_one_rater_has_a_bounded_say_in_what_training_reads(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"router": {"max_labels_per_day": 5}}))
    for i in range(20):
        memory.record(routed(f"a{i}", created=time.time(), query=f"Question {i}?"))
        memory.feedback(f"a{i}", Feedback(rating=1, rater="bob" if i < 3 else "mallory"))
    found = outcomes(memory)
    assert len(found) == 20
    assert np.isfinite(found.quality[:3, 0]).all()
    assert np.isfinite(found.quality[3:, 0]).sum() == 5
    assert np.isfinite(found.latency_ms[:, 0]).all()


def test_other_namespaces_are_not_read(memory: Memory, open_memory: Callable[..., Memory], brain: Path) -> None:
    memory.record(routed())
    memory.flush()
    other = open_memory(brain, namespace="other", read_only=True)
    assert (other.route_log(), len(outcomes(other))) == ([], 0)


def test_record_that_cannot_be_stored_leaves_nothing_of_its_decision(memory: Memory) -> None:
    huge = replace(decision(), feature_version=1 << 70)
    memory.record(replace(routed(), decision=huge))
    memory.record(routed("a2"))
    assert [logged.id for logged in memory.route_log()] == ["a2"]
    assert memory.stats().failed_records == 1
    assert memory.check().findings == ()


def test_old_brain_gets_the_tables_and_keeps_what_it_has(
    brain: Path, open_memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    brain.mkdir()
    monkeypatch.setattr("ruvllm.memory.schema.MIGRATIONS", MIGRATIONS[:2])
    old = Store(brain / "brain.db", read_only=False)
    route = '{"model": "reader", "context_tokens": 512, "temperature": 0.0, "top_p": 1.0, "decided_by": "default"}'
    row = ("old", "default", None, 1.0, None, None, "[]", "[]", route, "{}", 0.5, "stop", None)
    old.write(lambda c: c.execute(f"INSERT INTO interactions VALUES ({', '.join('?' * 13)})", row).fetchall())
    old.close()
    monkeypatch.undo()

    memory = open_memory()

    assert (memory.interaction("old").route.model, memory.interaction("old").route.checkpoint) == ("reader", 0)
    memory.feedback("old", Feedback(rating=5))
    memory.record(routed())
    assert [logged.id for logged in memory.route_log()] == ["a1"]
    assert memory.check().findings == ()
