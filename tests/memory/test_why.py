"""ruvllm/memory/why.py: an answer is explained from the store alone, whatever has become of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import interaction, routed

SLOW = load_config(environment={}, overrides={"store": {"flush_interval_s": 3600.0}})
QUERY = "Where is the sled kept?"


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    memory = open_memory(config=SLOW)
    memory.add(
        [
            {"text": "The sled is kept in hut three.", "source": "sled"},
            {"text": "Bread is baked on Fridays.", "source": "bread"},
        ]
    )
    answer(memory)
    return memory


def answer(memory: Memory, id: str = "a1", **fields: Any) -> None:
    vector = memory.encode([QUERY])[0]
    values = {"query": QUERY, "answer": "In hut three.", "source_ids": (1, 2), "used_ids": (1,), "query_vector": vector}
    memory.record(routed(id, created=time.time(), **(values | fields)))


def test_newest_answer_is_explained_without_its_id(memory: Memory) -> None:
    answer(memory, "a2")
    assert memory.why().id == "a2"
    assert memory.why("a1").id == "a1"


def test_each_source_has_its_place_and_its_way(memory: Memory) -> None:
    why = memory.why("a1")
    first, second = why.sources
    assert (first.number, first.was_used, first.state, first.rank) == (1, True, "searched", 1)
    assert first.hit is not None and first.hit.explanation is not None and "by words" in first.hit.explanation.reason
    assert first.attention == pytest.approx(first.hit.score)
    assert not second.was_used and second.credit < first.credit
    assert (why.question, why.answer, why.route.model) == (QUERY, "In hut three.", "reader")


def test_edges_say_what_this_answers_outcome_moved(memory: Memory) -> None:
    memory.feedback("a1", Feedback(rating=5))
    answer(memory, "a2", session="bob")
    memory.feedback("a2", Feedback(rating=1))
    moved = {(e.edge.src, e.edge.dst, e.edge.type.value): (e.moved, e.moved_here) for e in memory.why("a1").edges}
    node = memory.interaction("a1").answer_node
    total, here = moved[node, 1, "Cites"]
    assert here == pytest.approx(0.1 * 0.4, abs=1e-3) and total == pytest.approx(here)
    assert memory.why("a1").quality == 1.0 and memory.why("a1").quality_source == "user"


def test_marks_decide_credit_and_are_shown(memory: Memory) -> None:
    memory.feedback("a1", Feedback(marks={1: False, 2: True}))
    first, second = memory.why("a1").sources
    assert (first.helped, first.credit, first.credit_by) == (False, 0.0, "mark")
    assert (second.helped, second.credit) == (True, 1.0)


def test_a_correction_supersedes_and_is_a_newcomer(memory: Memory) -> None:
    memory.feedback("a1", Feedback(correction="The sled is kept in hut five."))
    why = memory.why("a1")
    assert why.answer_state == "superseded" and why.trust == 0.0
    assert [hit.node.id for hit in why.newcomers] == [why.correction]
    assert why.feedback == Feedback(correction="The sled is kept in hut five.")


def test_it_is_the_same_after_a_restart(memory: Memory, open_memory: Any) -> None:
    memory.feedback("a1", Feedback(rating=5, marks={1: True}))
    before = repr(memory.why("a1"))
    memory.close()
    assert repr(open_memory(config=SLOW, read_only=True).why("a1")) == before


def test_no_model_is_asked(memory: Memory, open_memory: Any) -> None:
    memory.close()
    again = open_memory(config=SLOW)
    again.why("a1")
    assert again._given.texts_encoded == 0


def test_explaining_is_no_use(memory: Memory) -> None:
    memory.flush()
    before = memory.get(1).use_count
    memory.why("a1")
    memory.flush()
    assert memory.get(1).use_count == before


def test_what_has_become_of_sources(memory: Memory) -> None:
    memory.add([{"text": "Bread is baked every day.", "source": "bread"}])
    assert [source.state for source in memory.why("a1").sources] == ["searched", "replaced"]
    memory.forget("sled")
    gone = memory.why("a1")
    assert [source.state for source in gone.sources] == ["forgotten", "replaced"]
    assert (gone.question, gone.answer, gone.answer_state) == (QUERY, None, "forgotten")
    assert "(forgotten)" in repr(gone) and "(forgotten)" in gone._repr_html_()


def test_the_judge_speaks_where_nobody_else_did(memory: Memory) -> None:
    memory.record(interaction("judged", quality=0.7, quality_source="signals@2"))
    said = memory.why("judged")
    assert (said.quality, said.quality_source) == (0.7, "signals@2")


def test_archived_source_is_not_found_today(memory: Memory) -> None:
    memory.run_archival(max_age_days=0.0, min_use_count=1000)
    assert {source.state for source in memory.why("a1").sources} == {"archived"}
    assert "not found today" in repr(memory.why("a1"))


def test_a_signal_is_named(memory: Memory) -> None:
    answer(memory, "a2", query="Where is the sled kept now?", answer="There.", query_vector=None)
    memory.notice_signals()
    assert memory.why("a1").signal == "rephrase"
    assert "asked again at once" in repr(memory.why("a1"))


@pytest.mark.parametrize("id", ["nope", ""])
def test_unknown_answer_is_named(memory: Memory, id: str) -> None:
    with pytest.raises(ValueError, match=r"^id"):
        memory.why(id)


def test_empty_brain_and_other_namespace_have_nothing_to_explain(memory: Memory, open_memory: Any) -> None:
    memory.close()
    with pytest.raises(ValueError, match="nothing was answered"):
        open_memory(namespace="other").why()
    with pytest.raises(ValueError, match="there is no answer 'a1'"):
        open_memory(namespace="other", read_only=True).why("a1")


def test_html_is_escaped_and_json_holds_it_all(memory: Memory) -> None:
    memory.record(interaction("x", query="<b>?", answer="<script>", created=time.time() + 1.0))
    why = memory.why("x")
    assert "<script>" not in why._repr_html_() and "&lt;script&gt;" in why._repr_html_()
    told = msgspec.json.decode(msgspec.json.encode(memory.why("a1")))
    assert told["sources"][0]["hit"]["explanation"]["reason"] and told["versions"] == {"ranking": 0, "router": 0}
