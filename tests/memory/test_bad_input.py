"""Bad input as a caller of `ruvllm.Memory` meets it: an error that begins with the argument's name, nothing changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ruvllm
from ruvllm.attention import Pattern
from ruvllm.memory import Memory
from ruvllm.memory.concepts import Concept
from ruvllm.types import EdgeType, Feedback, TierOutcome

from .fakes import interaction

LONE = "\ud800"
HUGE = "x" * 300_000
NO_TEXT: list[object] = [None, 3, -1, True, 1.5, b"x", [], {}, object(), "", " ", LONE, 10**30]
NO_ID: list[object] = [None, 0, -1, True, 1.5, float("nan"), "1", b"x", [], {}, object(), LONE, 10**30, -(10**30)]
NO_IDS: list[object] = [None, 3, True, "12", b"12", {1: 1.0}, object(), 10**30, *([one] for one in NO_ID)]
NO_COUNT: list[object] = [None, -1, True, 1.5, float("nan"), "3", b"x", [], {}, object(), LONE, -(10**30)]
NO_SHARE: list[object] = [None, -0.1, 1.5, True, float("nan"), float("inf"), "1", b"x", [], object(), 10**30, 10**400]
NO_KIND: list[object] = [None, 3, True, 1.5, b"x", "", LONE, HUGE, [], {}, object(), 10**30]
NO_TYPE: list[object] = [*NO_KIND[1:], "cites"]
NO_PATH: list[object] = [None, 3, True, 1.5, b"x", "", " ", LONE, [], {}, object(), 10**30, "a\0b"]
NO_MOMENT: list[object] = [None, True, "soon", b"x", [], {}, object(), float("nan"), LONE, 10**30]
NO_CALL: list[object] = [None, 3, True, "x", [], {}, object()]
CITES = EdgeType.CITES


def some(kind: list[object]) -> list[object]:
    """What is wrong where None means something."""
    return [one for one in kind if one is not None]


Call = Callable[[Memory, Any], object]
REFUSED: dict[str, tuple[Call, list[object]]] = {
    # documents
    "sources": (lambda m, bad: m.ingest(bad), [None, 3, True, b"x", {}, object(), "", LONE]),
    "on_progress": (lambda m, bad: m.ingest(["new"], on_progress=bad), some(NO_CALL)),
    "texts of add": (lambda m, bad: m.add(bad), [None, 3, True, 1.5, b"x", "text", {}, object(), 10**30]),
    "source": (lambda m, bad: m.forget(bad), [*NO_TEXT, HUGE, "unknown"]),
    "source of set_trust": (lambda m, bad: m.set_trust(bad, 0.5), [*NO_TEXT, HUGE, "unknown"]),
    "trust": (lambda m, bad: m.set_trust("s0", bad), NO_SHARE),
    "file": (lambda m, bad: m.export(bad), NO_PATH),
    "file of import_file": (lambda m, bad: m.import_file(bad), NO_PATH),
    "format": (lambda m, bad: m.import_file("x", format=bad), some(NO_KIND)),
    # search
    "query": (lambda m, bad: m.search(bad), NO_TEXT),
    "k": (lambda m, bad: m.search("text", bad), [0, *NO_COUNT]),
    "filter": (lambda m, bad: m.search("text", filter=bad), [3, True, b"x", "x", [3], object()]),
    "session": (lambda m, bad: m.search("text", session=bad), some(NO_TEXT)),
    "hops": (lambda m, bad: m.search("text", hops=bad), [5, *some(NO_COUNT)]),
    "as_of": (lambda m, bad: m.search("text", as_of=bad), some(NO_MOMENT)),
    "query_vector": (lambda m, bad: m.search("text", query_vector=bad), [3, [], np.zeros(64), np.full(64, np.nan)]),
    "boost": (lambda m, bad: m.search_with_concept_boost("text", boost=bad), [0.5, *NO_SHARE[3:-2]]),
    "query of search_plainly": (lambda m, bad: m.search_plainly(bad), NO_TEXT),
    "filter of search_plainly": (lambda m, bad: m.search_plainly("text", filter=bad), [3, True, b"x", "x", object()]),
    "phrase": (lambda m, bad: m.find(bad), NO_TEXT),
    "k of find": (lambda m, bad: m.find("text", bad), [0, *NO_COUNT]),
    "query of candidates": (lambda m, bad: m.candidates(bad), NO_TEXT),
    "terms": (lambda m, bad: m.rarity(bad), [None, 3, "x", [1], np.zeros(2), np.zeros((1, 1), np.uint64)]),
    "texts": (lambda m, bad: m.encode(bad), [None, 3, True, "text", b"x", {}, object(), [None], [""], [3], [LONE]]),
    # the graph
    "node_id": (lambda m, bad: m.get(bad), NO_ID),
    "node_id of neighbours": (lambda m, bad: m.neighbours(bad), NO_ID),
    "type": (lambda m, bad: m.neighbours(1, bad), NO_TYPE),
    "node_id of co_retrieved": (lambda m, bad: m.co_retrieved(bad), NO_ID),
    "k of co_retrieved": (lambda m, bad: m.co_retrieved(1, bad), [0, *NO_COUNT]),
    "around": (lambda m, bad: m.neighbourhood(bad), some(NO_ID)),
    "hops of neighbourhood": (lambda m, bad: m.neighbourhood(1, hops=bad), [0, *NO_COUNT]),
    "max_nodes": (lambda m, bad: m.neighbourhood(1, max_nodes=bad), [0, 501, 10**30, *NO_COUNT]),
    "file of picture": (lambda m, bad: m.picture(bad), ["x.txt", *NO_PATH]),
    "seed": (lambda m, bad: m.picture("x.svg", seed=bad), NO_COUNT),
    "text": (lambda m, bad: m.insert_node(bad), NO_TEXT),
    "metadata": (
        lambda m, bad: m.insert_node("new", metadata=bad),
        [3, "", "x", [], {"a": object()}, {"a": LONE}],
    ),
    "trust of insert_node": (lambda m, bad: m.insert_node("new", trust=bad), NO_SHARE),
    "source of insert_node": (lambda m, bad: m.insert_node("new", source=bad), some(NO_TEXT)),
    "type of insert_node": (lambda m, bad: m.insert_node("new", type=bad), [None, *NO_TYPE]),
    "nodes": (lambda m, bad: m.insert_nodes(bad), [None, 3, True, "new", b"x", {}, object(), [3], [None], [{"a": 1}]]),
    "src": (lambda m, bad: m.insert_edge(bad, 2, CITES), [99, *NO_ID]),
    "dst": (lambda m, bad: m.insert_edge(1, bad, CITES), [99, *NO_ID]),
    "type of insert_edge": (lambda m, bad: m.insert_edge(1, 2, bad), [None, *NO_TYPE]),
    "weight": (lambda m, bad: m.insert_edge(1, 2, CITES, bad), NO_SHARE),
    "created_by": (lambda m, bad: m.insert_edge(1, 2, CITES, 0.5, bad), NO_TEXT),
    "nodes of apply_outcome": (lambda m, bad: m.apply_outcome(bad, 1.0), [[1], [1, 99], *NO_IDS]),
    "quality": (lambda m, bad: m.apply_outcome([1, 2], bad), NO_SHARE),
    "success": (lambda m, bad: m.apply_outcome([1, 2], 1.0, bad), [1, "yes", b"x", []]),
    "credits": (lambda m, bad: m.apply_outcome([1, 2], 1.0, credits=bad), [3, [1], {3: 0.5}, {1: -1}, {1: True}]),
    "rater": (lambda m, bad: m.apply_outcome([1, 2], 1.0, rater=bad), NO_TEXT),
    "id of apply_outcome": (lambda m, bad: m.apply_outcome([1, 2], 1.0, id=bad), some(NO_TEXT)),
    "rate": (lambda m, bad: m.apply_decay(bad), [1.0, *some(NO_SHARE)]),
    "min_interactions": (lambda m, bad: m.apply_decay(0.1, bad), NO_COUNT),
    "floor": (lambda m, bad: m.apply_decay(0.1, 5, bad), NO_SHARE),
    "cancelled of apply_decay": (lambda m, bad: m.apply_decay(0.1, cancelled=bad), NO_CALL),
    # answered requests and sessions
    "interaction": (lambda m, bad: m.record(bad), NO_KIND),
    "id of feedback": (lambda m, bad: m.feedback(bad, Feedback(rating=5)), ["unknown", HUGE, *NO_TEXT]),
    "feedback": (lambda m, bad: m.feedback("a1", bad), NO_KIND),
    "node_id of promote": (lambda m, bad: m.promote(bad), [1, 99, *NO_ID]),
    "node_id of revoke": (lambda m, bad: m.revoke(bad), [1, 99, *NO_ID]),
    "id": (lambda m, bad: m.interaction(bad), ["unknown", HUGE, *NO_TEXT]),
    "id of why": (lambda m, bad: m.why(bad), ["unknown", HUGE, *some(NO_TEXT)]),
    "kind": (lambda m, bad: m.record_failure(bad), NO_TEXT),
    "detail": (lambda m, bad: m.record_failure("Kind", bad), [None, 3, True, b"x", [], object()]),
    "model": (lambda m, bad: m.record_failure("Kind", "", bad), [None, 3, True, b"x", [], object()]),
    "since": (lambda m, bad: m.failures(bad), NO_MOMENT),
    "until": (lambda m, bad: m.failures(0.0, bad), NO_MOMENT),
    "since of traces": (lambda m, bad: m.traces(bad), NO_MOMENT),
    "until of traces": (lambda m, bad: m.traces(0.0, bad), NO_MOMENT),
    "id of traces": (lambda m, bad: m.traces(id=bad), some(NO_TEXT)),
    "id of answer_vector": (lambda m, bad: m.answer_vector(bad), NO_TEXT),
    "judge": (lambda m, bad: m.rated_answers(bad), [HUGE, *NO_TEXT]),
    "limit of rated_answers": (lambda m, bad: m.rated_answers("signals", bad), [0, *NO_COUNT]),
    "session of turns": (lambda m, bad: m.turns(bad), NO_TEXT),
    "limit": (lambda m, bad: m.turns("alice", bad), [0, *NO_COUNT]),
    "session of count_turns": (lambda m, bad: m.count_turns(bad), NO_TEXT),
    "limit of timings": (lambda m, bad: m.timings(bad), [0, *NO_COUNT]),
    "name": (lambda m, bad: m.new_session(bad), [HUGE, *some(NO_TEXT)]),
    "name of delete_session": (lambda m, bad: m.delete_session(bad), ["unknown", HUGE, *NO_TEXT]),
    # what the router learns from
    "ids": (lambda m, bad: m.among(bad), NO_IDS),
    "limit of route_log": (lambda m, bad: m.route_log(bad), [0, *NO_COUNT]),
    "id of routed": (lambda m, bad: m.routed(bad), ["unknown", HUGE, *NO_TEXT]),
    "tiers": (lambda m, bad: outcomes_of(m, bad), [None, 3, True, "small", b"x", {}, object(), [None], [""], [LONE]]),
    "num_features": (lambda m, bad: outcomes_of(m, num_features=bad), [0, *NO_COUNT]),
    "feature_version": (lambda m, bad: outcomes_of(m, feature_version=bad), NO_COUNT),
    "limit of logged_outcomes": (lambda m, bad: outcomes_of(m, limit=bad), [0, *NO_COUNT]),
    "id of logged_outcomes": (lambda m, bad: outcomes_of(m, id=bad), some(NO_TEXT)),
    "pause": (lambda m, bad: outcomes_of(m, pause=bad), NO_CALL),
    "id of crowded_out": (lambda m, bad: m.crowded_out(bad), NO_TEXT),
    "id of add_outcomes": (lambda m, bad: m.add_outcomes(bad, []), ["unknown", HUGE, *NO_TEXT]),
    "outcomes": (lambda m, bad: m.add_outcomes("a1", bad), [None, 3, "x", {}, object(), [3], [TierOutcome("other")]]),
    "id of judge_outcome": (lambda m, bad: m.judge_outcome(bad, "small", 0.5), ["unknown", HUGE, *NO_TEXT]),
    "tier": (lambda m, bad: m.judge_outcome("a1", bad, 0.5), ["unknown", HUGE, *NO_TEXT]),
    "quality of judge_outcome": (lambda m, bad: m.judge_outcome("a1", "small", bad), NO_SHARE),
    "source of judge_outcome": (lambda m, bad: m.judge_outcome("a1", "small", 0.5, source=bad), some(NO_KIND)),
    # learning, concepts and care
    "cancelled": (lambda m, bad: m.train_attention(bad), NO_CALL),
    "patterns": (lambda m, bad: m.train_on_patterns(bad), [None, 3, "x", {}, object(), [None], [3], ["x"]]),
    "quality of a pattern": (lambda m, bad: Pattern((CITES,), bad), NO_SHARE),
    "edge_types of a pattern": (lambda m, bad: Pattern(bad, 0.5), [None, 3, "Cites", b"x", {}, [[]], ["x"], [None]]),
    "learning_rate": (lambda m, bad: m.train_on_patterns([], learning_rate=bad), [-1, *NO_SHARE[3:-2]]),
    "min_size": (lambda m, bad: m.detect_clusters(bad), [0, 1, *NO_COUNT]),
    "min_density": (lambda m, bad: m.detect_clusters(3, bad), NO_SHARE),
    "among": (lambda m, bad: m.detect_clusters(among=bad), some(NO_IDS)),
    "seed of detect_clusters": (lambda m, bad: m.detect_clusters(seed=bad), [1 << 64, 10**30, *NO_COUNT]),
    "must_stop": (lambda m, bad: m.detect_clusters(must_stop=bad), NO_CALL),
    "concept": (lambda m, bad: m.put_concept(bad, {1: 1.0}), [*NO_KIND, *map(Concept, map(str, ("", " ", LONE)))]),
    "concept's metadata": (lambda m, bad: m.put_concept(Concept("new", bad), {1: 1.0}), [3, "x", {"a": object()}]),
    "concept's level": (
        lambda m, bad: m.put_concept(Concept("new", {"level": bad}), {1: 1.0}),
        [0, -1, 1.5, True, None, "high", "1", []],
    ),
    "members": (lambda m, bad: m.put_concept(Concept("new"), bad), [None, 3, [1], {}, {"1": 1.0}, {1: 2.0}, {1: None}]),
    "replaces": (lambda m, bad: m.put_concept(Concept("new"), {1: 1.0}, replaces=bad), some(NO_ID)),
    "concept_id": (lambda m, bad: m.dissolve_concept(bad), NO_ID),
    "ids of texts": (lambda m, bad: m.texts(bad), NO_IDS),
    "ids of private_among": (lambda m, bad: m.private_among(bad), NO_IDS),
    "cluster": (lambda m, bad: m.nearness(bad), NO_KIND),
    "cancelled of compact": (lambda m, bad: m.compact(bad), NO_CALL),
    "node": (lambda m, bad: m.added_since(bad, 0.0), NO_COUNT),
    "at": (lambda m, bad: m.added_since(0, bad), NO_MOMENT),
    "max_age_days": (lambda m, bad: m.run_archival(bad), [-1, None, True, float("nan"), "1", b"x", [], object()]),
    "min_use_count": (lambda m, bad: m.run_archival(0.0, bad), NO_COUNT),
    "cold_path": (lambda m, bad: m.run_archival(0.0, 0, bad), some(NO_PATH)),
    "ids of rehydrate": (lambda m, bad: m.rehydrate(bad), NO_IDS),
    "embedder": (lambda m, bad: m.reembed(bad), NO_KIND),
    # names that a model found
    "model of unread": (lambda m, bad: m.unread(bad, 1, 2), NO_TEXT),
    "version": (lambda m, bad: m.unread("reader", bad, 2), NO_COUNT),
    "max_links": (lambda m, bad: m.unread("reader", 1, bad), NO_COUNT),
    "node_id of put_names": (lambda m, bad: m.put_names(bad, ["Oslo"], "reader", 1), NO_ID),
    "names": (
        lambda m, bad: m.put_names(1, bad, "reader", 1),
        [None, 3, "Oslo", b"x", {}, object(), [3], [""], [LONE]],
    ),
    "model of put_names": (lambda m, bad: m.put_names(1, ["Oslo"], bad, 1), NO_TEXT),
    "version of put_names": (lambda m, bad: m.put_names(1, ["Oslo"], "reader", bad), NO_COUNT),
    "node_id of put_failure": (lambda m, bad: m.put_failure(bad, "reader", 1), NO_ID),
    "model of put_failure": (lambda m, bad: m.put_failure(1, bad, 1), NO_TEXT),
    "version of put_failure": (lambda m, bad: m.put_failure(1, "reader", bad), NO_COUNT),
    # opening
    "path": (lambda m, bad: Memory(bad), NO_PATH),
    "config": (lambda m, bad: Memory(m.path, config=bad), some(NO_KIND)),
    "namespace": (lambda m, bad: Memory(m.path, namespace=bad), NO_TEXT),
    "embedder of Memory": (lambda m, bad: Memory(m.path, embedder=bad), some(NO_KIND)),
}


def outcomes_of(memory: Memory, tiers: Any = ("small", "large"), **options: Any) -> object:
    return memory.logged_outcomes(tiers, **({"num_features": 4, "feature_version": 1} | options))


@pytest.mark.parametrize(("what", "call", "values"), [(what, *row) for what, row in REFUSED.items()], ids=REFUSED)
def test_what_is_wrong_is_refused_by_its_name_and_changes_nothing(
    filled: Memory, what: str, call: Call, values: list[object]
) -> None:
    before = filled.stats()
    for bad in values:
        with pytest.raises((TypeError, ValueError), match=rf"^{re.match('[a-z_]+', what)[0]}\b"):
            call(filled, bad)
    after = filled.stats()
    assert (after.nodes, after.edges, after.interactions) == (before.nodes, before.edges, before.interactions)
    assert after.failed_records == before.failed_records and filled.check().ok


def test_every_public_method_of_memory_that_takes_arguments_is_in_the_table() -> None:
    unasked = {"apply", "check"}
    tried = {name for row in REFUSED.values() for name in (*row[0].__code__.co_names, "logged_outcomes")}
    takes = {
        name
        for name in dir(ruvllm.Memory)
        if not name.startswith("_")
        and callable(function := getattr(ruvllm.Memory, name))
        and getattr(function, "__wrapped__", function).__code__.co_argcount > 1
    }
    assert takes - tried - unasked == set()


def test_a_record_that_is_none_costs_the_others_nothing(memory: Memory) -> None:
    memory.record(interaction("a1", query="First?", answer="One."))
    with pytest.raises(TypeError, match=r"^interaction"):
        memory.record(None)  # type: ignore[arg-type]
    memory.record(interaction("a2", query="Second?", answer="Two."))
    memory.flush()
    assert memory.stats().interactions == 2 and memory.failed_records == 0


def test_a_huge_number_of_what_is_wanted_is_all_there_is(filled: Memory) -> None:
    huge = 10**30
    assert len(filled.search("text", huge)) == len(filled.search("text", 100))
    assert filled.find("words", huge) and filled.turns("alice", huge)
    assert len(filled.timings(huge)) == len(filled.route_log(huge)) == 2
    assert [one.id for one, _ in filled.co_retrieved(1, huge)] == [2]
