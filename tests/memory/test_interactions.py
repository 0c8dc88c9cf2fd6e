"""ruvllm/memory/interactions.py, writeback.py, feedback.py: what was asked, and what was said about it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny

from ruvllm import models
from ruvllm.config import ModelsConfig, load_config
from ruvllm.errors import BrainError
from ruvllm.memory import Memory
from ruvllm.memory.writeback import WriteBack
from ruvllm.types import EdgeType, Feedback, Interaction, NodeType, Turn

from .fakes import WordEmbedder, interaction

CHILD = Path(__file__).with_name("child.py")
SLOW = load_config(environment={}, overrides={"store": {"flush_interval_s": 3600.0}})


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    """Commits only when told to."""
    memory = open_memory(config=SLOW)
    memory.add([{"text": "first source", "source": "a"}, {"text": "second source", "source": "b"}])
    return memory


def shown(memory: Memory, **fields: object) -> Interaction:
    return interaction(source_ids=(1, 2), used_ids=(2,), created=time.time(), **fields)


def weights(memory: Memory) -> dict[tuple[int, EdgeType], float]:
    answer = memory.interaction("a1").answer_node or 0
    return {(edge.dst, edge.type): edge.weight for edge, _ in memory.neighbours(answer) if edge.src == answer}


def test_record_is_read_back_after_reopening(open_memory: Callable[..., Memory]) -> None:
    first = open_memory(config=SLOW)
    first.add([{"text": "first source", "source": "a"}, {"text": "second source", "source": "b"}])
    vector = WordEmbedder().encode(["given"])[0]
    first.record(shown(first, query_vector=vector))
    first.close()

    memory = open_memory()
    record = memory.interaction("a1")

    assert (record.query, record.answer, record.session) == ("What is an index?", "A structure for search.", "alice")
    assert (record.source_ids, record.used_ids, record.confidence) == ((1, 2), (2,), 0.9)
    assert (record.route.model, record.timings_ms, record.finish_reason) == ("reader", {"total": 12.5}, "stop")
    query, answer = memory.get(record.query_node or 0), memory.get(record.answer_node or 0)
    assert (query.type, answer.type) == (NodeType.QUERY, NodeType.ANSWER)
    assert query.on_probation and answer.on_probation and answer.session == "alice"
    stored = memory._store.value("SELECT vector FROM vectors WHERE node = ?", (query.id,))
    np.testing.assert_array_equal(np.frombuffer(stored, "<f4"), vector)


def test_answer_is_linked_to_every_source_that_was_shown(memory: Memory) -> None:
    memory.record(shown(memory))
    shares = {(1, EdgeType.DERIVED): 0.4, (2, EdgeType.DERIVED): 0.6, (2, EdgeType.CITES): 0.6}
    assert weights(memory) == pytest.approx(shares)
    record = memory.interaction("a1")
    follows = memory.neighbours(record.query_node or 0, EdgeType.FOLLOWS)
    assert [node.id for _, node in follows] == [record.answer_node]
    assert memory.get(1).use_count == 1


def test_writeback_queue_batches_correctly(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    commit = memory._writeback._commit
    monkeypatch.setattr(memory._writeback, "_commit", lambda group: groups.append(len(group)) or commit(group))
    for i in range(20):
        memory.record(interaction(f"a{i}"))
    memory.flush()
    assert groups == [20]
    assert memory.stats().interactions == 20


def test_record_returns_before_it_is_on_disk_and_turns_know_it(memory: Memory) -> None:
    memory.record(interaction("a1", query="q1", answer="r1", created=1.0))
    memory.flush()
    memory.record(interaction("a2", query="q2", answer="r2", created=2.0))
    assert memory.stats().queued == 1
    assert memory.turns("alice", 5) == [Turn("q1", "r1", 1.0), Turn("q2", "r2", 2.0)]
    assert memory.turns("alice", 1) == [Turn("q2", "r2", 2.0)]
    assert memory.turns("bob", 5) == []
    memory.flush()
    assert [session.name for session in memory.sessions()] == ["alice"]


def test_same_record_twice_is_one(memory: Memory) -> None:
    memory.record(interaction())
    memory.record(interaction())
    memory.flush()
    assert (memory.stats().interactions, memory.stats().nodes_by_type["Answer"]) == (1, 1)


def test_bad_record_is_counted_and_the_others_are_stored(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    memory.record(interaction("bad", query_vector=np.full(64, np.nan, np.float32)))
    memory.record(interaction("odd", created="never"))
    memory.record(interaction("broken", answer="half a pair \ud800"))
    memory.record(interaction("silent", answer=""))
    memory.record(interaction("good"))
    with caplog.at_level(logging.CRITICAL):
        memory.flush()
    assert memory.interaction("good").id == "good"
    assert memory.stats().failed_records == 4


def test_a_record_of_another_kind_loses_none_of_its_group(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        for one in (interaction("before"), None, interaction("after")):
            memory._writeback.put(one)  # type: ignore[arg-type]
        memory.flush()
    assert (memory.stats().interactions, memory.stats().failed_records) == (2, 1)


def test_record_never_raises_on_a_closed_brain(memory: Memory) -> None:
    memory.close()
    memory.record(interaction())


@pytest.mark.integration
def test_answers_are_kept_when_the_program_ends_without_closing(tmp_path: Path, brain: Path) -> None:
    source = tiny.write_encoder_folder(tmp_path / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
    models.pull(f"path:{source}", ModelsConfig(cache_dir=str(tmp_path / "cache"), offline=True))
    child = subprocess.run(
        [sys.executable, CHILD, "leave", brain, tmp_path / "cache"], capture_output=True, text=True, timeout=120
    )
    assert (child.returncode, child.stderr) == (0, "")
    with Memory(brain) as memory:
        assert [memory.interaction(id).query for id in ("a0", "a1")] == ["hello world"] * 2


def test_broken_disk_is_tried_twice_then_given_up_and_counted() -> None:
    tries: list[int] = []

    def commit(group: Sequence[Interaction]) -> int:
        tries.append(len(group))
        raise BrainError("full", path=__file__)  # type: ignore[arg-type]

    queue = WriteBack(commit, 0.001, 64)
    queue.put(interaction())
    queue.flush()
    queue.close()
    assert (tries, queue.failed, queue.pending()) == ([1, 1], 1, [])


def test_one_record_that_cannot_be_stored_is_the_only_one_lost(caplog: pytest.LogCaptureFixture) -> None:
    stored: list[str] = []

    def commit(group: Sequence[Interaction]) -> int:
        if any(one.id == "bad" for one in group):
            raise RuntimeError("what nobody thought of")
        stored.extend(one.id for one in group)
        return 0

    queue = WriteBack(commit, 3600.0, 64)
    with caplog.at_level(logging.CRITICAL):
        for id in ("a", "bad", "b"):
            queue.put(interaction(id))
        queue.close()
    assert (stored, queue.failed) == (["a", "b"], 1)


def test_full_queue_waits_for_space_and_drops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.writeback.CAPACITY", 4)
    stored: list[str] = []
    queue = WriteBack(lambda group: stored.extend(one.id for one in group) or 0, 3600.0, 64)
    threads = [threading.Thread(target=queue.put, args=(interaction(str(i)),)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.close()
    assert sorted(stored, key=int) == [str(i) for i in range(30)]


def test_record_that_waits_for_space_while_the_queue_closes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.writeback.CAPACITY", 1)
    may_commit = threading.Event()
    queue = WriteBack(lambda group: 0 if may_commit.wait(30.0) else len(group), 0.0, 1)
    queue.put(interaction("a"))
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(queue.put, interaction("late"))
        while not queue._urgent:
            threading.Event().wait(0.001)
        with queue._changed:  # late waits by now
            queue._is_closing = True
        may_commit.set()
        with pytest.raises(ValueError, match="the brain is closed"):
            late.result(30.0)
    queue.close()
    assert (queue.failed, queue.pending()) == (0, [])


def test_feedback_commits_a_queued_record_first(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(rating=4))
    assert memory.interaction("a1").feedback == Feedback(rating=4)
    assert memory.stats().queued == 0


def test_feedback_on_an_unknown_answer_names_it(memory: Memory) -> None:
    with pytest.raises(ValueError, match="'nope'"):
        memory.feedback("nope", Feedback(rating=4))


def test_good_feedback_strengthens_used_sources_most(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(quality=1.0))
    assert weights(memory)[2, EdgeType.CITES] == pytest.approx(0.6 + 0.1 * 0.4)
    assert weights(memory)[1, EdgeType.DERIVED] == pytest.approx(0.4 + 0.025 * 0.6)


def test_same_feedback_twice_counts_once(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(rating=1))
    once = weights(memory)
    memory.feedback("a1", Feedback(rating=1))
    assert weights(memory) == pytest.approx(once)
    answer = memory.interaction("a1").answer_node or 0
    assert {(e.success, e.failure) for e, _ in memory.neighbours(answer) if e.src == answer} == {(0, 1)}


def test_later_feedback_replaces_the_earlier_outcome(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(rating=1))
    memory.feedback("a1", Feedback(rating=5, task_success=True))
    assert weights(memory)[2, EdgeType.CITES] == pytest.approx(0.6 + 0.1 * 0.4)
    assert memory.interaction("a1").feedback == Feedback(rating=5, task_success=True)
    answer = memory.interaction("a1").answer_node or 0
    assert {(e.success, e.failure) for e, _ in memory.neighbours(answer) if e.src == answer} == {(1, 0)}


def test_correction_is_a_fact_that_everyone_finds_at_once(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(correction="A map from key to place."))
    hit = memory.search("what is an index")[0]
    assert (hit.node.text, hit.node.type, hit.node.trust) == ("A map from key to place.", NodeType.FACT, 1.0)
    record = memory.interaction("a1")
    assert [n.id for _, n in memory.neighbours(hit.node.id, EdgeType.DERIVED)] == [record.query_node]
    answer = memory.get(record.answer_node or 0)
    assert (answer.metadata["superseded_by"], answer.trust) == (hit.node.id, 0.0)


@pytest.mark.parametrize("is_private", [True, False])
def test_a_correction_is_as_private_as_what_it_corrects(memory: Memory, is_private: bool) -> None:
    memory.record(replace(shown(memory), is_private=is_private))
    memory.feedback("a1", Feedback(correction="A map from key to place."))
    record = memory.interaction("a1")
    made = [memory.search("what is an index")[0].node, memory.get(record.query_node or 0)]
    assert [node.is_private for node in [*made, memory.get(record.answer_node or 0)]] == [is_private] * 3


def test_second_correction_replaces_the_first(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(correction="One thing."))
    memory.feedback("a1", Feedback(correction="Another thing."))
    facts = [hit.node.text for hit in memory.search("what is an index", filter={"type": "Fact"})]
    assert facts == ["Another thing."]
    assert memory.check().ok


def test_answers_that_used_a_forgotten_source_go_with_it(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(rating=5))
    assert memory.forget("b") == 2
    record = memory.interaction("a1")
    assert (record.answer, record.query) == (None, "What is an index?")
    assert memory.turns("alice", 5) == []
    memory.feedback("a1", Feedback(rating=2))
    assert memory.check().ok


def test_answers_that_were_only_shown_a_forgotten_source_go_too_and_what_came_of_them(memory: Memory) -> None:
    memory.record(shown(memory))
    first = memory.interaction("a1").answer_node or 0
    memory.record(interaction("a2", answer="A second thing.", source_ids=(first,)))
    second = memory.interaction("a2").answer_node or 0
    memory.record(interaction("a3", answer="Three more.", source_ids=(second, 2)))
    memory.record(interaction("a4", answer="Only the fourth.", source_ids=(2,)))
    assert memory.forget("a") == 4
    assert [memory.interaction(f"a{i}").answer is None for i in (1, 2, 3, 4)] == [True, True, True, False]
    assert len(memory.turns("alice")) == 1


@pytest.mark.parametrize("rating", [None, 2])
def test_forgotten_correction_leaves_nothing_and_can_be_given_again(memory: Memory, rating: int | None) -> None:
    memory.record(shown(memory))
    said = Feedback(rating=rating, correction="Zanzibar.")
    memory.feedback("a1", said)
    assert memory.forget("feedback:a1") == 1
    assert memory.interaction("a1").feedback == (None if rating is None else Feedback(rating=rating))
    assert memory._store.value("SELECT count(*) FROM feedback WHERE correction IS NOT NULL") == 0
    memory.feedback("a1", said)
    assert memory.search("zanzibar")[0].node.text == "Zanzibar."


def test_an_answer_stands_again_when_its_correction_is_forgotten(memory: Memory) -> None:
    memory.record(shown(memory))
    answer = memory.interaction("a1").answer_node or 0
    memory.feedback("a1", Feedback(rating=5, rater="ann", correction="Zanzibar."))
    assert memory.get(answer).trust == 0.0
    memory.forget("feedback:a1")
    assert (memory.get(answer).trust, "superseded_by" in memory.get(answer).metadata) == (0.3, False)
    asked = memory.interaction("a1").query or ""
    memory.record(interaction("a2", query=asked, answer=memory.get(answer).text, session="bob"))
    memory.feedback("a2", Feedback(rating=5, rater="bob"))
    twin = memory.interaction("a2").answer_node
    assert not memory.get(twin or 0).on_probation  # two good words, the one before the correction among them


def test_correction_whose_fact_is_lost_can_be_given_again(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.feedback("a1", Feedback(correction="Zanzibar."))
    memory._store.write(lambda c: c.execute("UPDATE feedback SET correction_node = NULL").fetchall())
    memory.feedback("a1", Feedback(correction="Zanzibar."))
    assert memory._store.value("SELECT correction_node FROM feedback") is not None


def test_conversation_goes_on_from_what_was_corrected(memory: Memory) -> None:
    memory.record(interaction("a1", query="q", answer="wrong", created=1.0))
    memory.feedback("a1", Feedback(correction="right"))
    assert memory.turns("alice") == [Turn("q", "right", 1.0)]
    memory.forget("feedback:a1")
    assert memory.turns("alice") == [Turn("q", "wrong", 1.0)]


def test_turns_follow_each_other_though_the_clock_was_set_back(memory: Memory) -> None:
    for number, created in enumerate((5_000.0, 5_010.0, 1_400.0, 1_410.0)):
        memory.record(interaction(f"a{number}", query=f"question {number}", created=created))
    queued = [turn.query for turn in memory.turns("alice")]
    memory.flush()
    assert [turn.query for turn in memory.turns("alice")] == queued == [f"question {number}" for number in range(4)]
    assert [turn.query for turn in memory.turns("alice", 1)] == ["question 3"]


def test_answer_that_was_shown_a_source_forgotten_meanwhile_is_not_stored(memory: Memory) -> None:
    memory.forget("b")
    memory.record(replace(shown(memory), id="late"))
    memory.record(interaction("another", query="What is a forest?", answer="Many trees."))
    memory.flush()
    assert memory.failed_records == 1
    assert [turn.answer for turn in memory.turns("alice")] == ["Many trees."]
    assert not memory._store.rows("SELECT id FROM nodes WHERE text = ?", (shown(memory).answer,))


def test_record_of_a_source_that_went_alone_is_stored_without_the_edge(memory: Memory) -> None:
    memory.forget("b", cascade=False)
    memory.record(replace(shown(memory), id="late"))
    assert [e.dst for e, _ in memory.neighbours(memory.interaction("late").answer_node or 0, EdgeType.DERIVED)] == [1]


def test_record_with_the_source_or_the_id_of_another_namespace_is_refused(open_memory: Callable[..., Memory]) -> None:
    first = open_memory(namespace="one")
    secret = first.insert_node("The salary is 4711.")
    first.record(interaction("a1", namespace="one"))
    first.close()
    other = open_memory(namespace="other")
    other.record(interaction("a1", namespace="other"))
    other.record(interaction("a2", namespace="other", source_ids=(secret,)))
    other.record(interaction("a3", namespace="other"))
    other.flush()
    assert other.failed_records == 2
    assert other.interaction("a3").answer
    with pytest.raises(ValueError, match="a2"):
        other.interaction("a2")


def test_full_batch_is_committed_without_waiting() -> None:
    groups: list[int] = []
    is_full = threading.Event()
    queue = WriteBack(lambda group: groups.append(len(group)) or is_full.set() or 0, 3600.0, 4)
    for i in range(5):
        queue.put(interaction(str(i)))
    assert is_full.wait(30.0)
    queue.close()
    assert groups == [4, 1]


def test_writeback_threshold_filtering(memory: Memory) -> None:
    memory.record(shown(memory, confidence=0.49))
    memory.record(interaction("a2", query="second?", answer="well known things", confidence=0.5))
    memory.flush()
    found = [hit.node.text for hit in memory.search("structure known things", session="alice")]
    assert "A structure for search." not in found and "well known things" in found
    assert memory.interaction("a1").answer == "A structure for search."
    assert len(memory.turns("alice")) == 2


def test_what_a_calibrated_judge_says_decides_before_the_reader_s_confidence(memory: Memory) -> None:
    memory.record(shown(memory, confidence=0.9, quality=0.3, quality_source="signals@1"))
    second = interaction("a2", query="second?", answer="well known things", confidence=0.9, quality=0.3)
    memory.record(replace(second, quality_source="signals"))  # which is not calibrated
    memory.flush()
    found = [hit.node.text for hit in memory.search("structure known things", session="alice")]
    assert "A structure for search." not in found and "well known things" in found
    assert (memory.interaction("a1").quality, memory.interaction("a1").quality_source) == (0.3, "signals@1")


def test_forget_takes_what_was_derived_whoever_said_so(memory: Memory) -> None:
    fact, heir = memory.insert_nodes(["made of the first", "made of what was made of it"])
    memory.insert_edge(fact, 1, EdgeType.DERIVED, created_by="enrichment")
    memory.insert_edge(heir, fact, EdgeType.DERIVED)
    assert memory.forget("a") == 3
    assert memory.stats().nodes == 1 and memory.check().ok


def test_forget_without_cascade_leaves_the_answers(memory: Memory) -> None:
    memory.record(shown(memory))
    assert memory.forget("a", cascade=False) == 1
    answer = memory.interaction("a1").answer_node or 0
    assert [edge.dst for edge, _ in memory.neighbours(answer, EdgeType.DERIVED)] == [2]


def test_forget_takes_training_rows_of_the_answers_that_go(memory: Memory) -> None:
    memory.record(shown(memory))
    memory.flush()
    memory._store.write(lambda c: c.execute("INSERT INTO credits VALUES ('a1', 2, 0.5, 'mark')").fetchall())
    memory.forget("a")
    assert memory._store.value("SELECT count(*) FROM credits") == 0


def test_nothing_of_a_forgotten_text_is_left_in_the_file(memory: Memory, brain: Path) -> None:
    memory.add([{"text": "the xylophonic quetzal", "source": "secret"}])
    memory.record(interaction(source_ids=(3,), answer="A xylophonic quetzal, surely."))
    memory.compact()
    assert b"quetzal" in (brain / "brain.db").read_bytes()
    memory.forget("secret")
    memory.compact()
    files = [file.read_bytes() for file in brain.rglob("*") if file.is_file()]
    assert not any(word in content for content in files for word in (b"quetzal", b"xylophon"))
