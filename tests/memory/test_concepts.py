"""ruvllm/memory/concepts.py, shelves.py, cold_search.py: concepts stand for their members, also for archived ones."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from ruvllm.memory import Concept, Memory
from ruvllm.memory.shelves import unfile
from ruvllm.types import EdgeType, Feedback, NodeType, Tier

from .fakes import WordEmbedder, interaction
from .test_archive import old_node, use

COLOURS = [f"red green blue paint {word}" for word in ("azure", "beige", "coral", "denim")]


def concept(memory: Memory, nodes: list[int], text: str = "paint of all colours") -> int:
    node = memory.put_concept(Concept(text, {"level": 1, "title": "paint"}), dict.fromkeys(nodes, 0.9))
    assert node is not None
    return node


def archived(memory: Memory) -> tuple[list[int], int]:
    """Four old nodes and a fresh one, a concept of the old ones, which are archived."""
    old = [old_node(memory, text) for text in COLOURS]
    use(memory, memory.insert_node("cargo crates compile"), 50, 0.0)
    node = concept(memory, old)
    assert memory.run_archival().archived == len(old)
    return old, node


def found(memory: Memory, query: str) -> list[int]:
    return [hit.node.id for hit in memory.search(query)]


def test_a_concept_contains_its_members_and_says_that_it_comes_from_them(memory: Memory) -> None:
    nodes = memory.insert_nodes(COLOURS)
    node = concept(memory, nodes)
    edges = [edge for edge, _ in memory.neighbours(node)]
    for type_ in (EdgeType.CONTAINS, EdgeType.DERIVED):
        assert {edge.dst for edge in edges if edge.type is type_ and edge.src == node} == set(nodes)
    assert memory.get(node).type is NodeType.CONCEPT
    [one] = memory.concepts()
    assert (one.id, one.members, one.lost) == (node, tuple(nodes), 0)


def test_a_concept_is_private_where_something_in_it_is(memory: Memory) -> None:
    memory.add([{"text": "a secret paint", "metadata": {"private": True}}])
    secret, *nodes = memory.search("secret")[0].node.id, *memory.insert_nodes(COLOURS)
    node = concept(memory, [secret, *nodes])
    above = concept(memory, [node], "paint as such")
    assert [memory.get(one).is_private for one in (node, above)] == [True, True]
    memory.put_concept(Concept("paint of most colours"), dict.fromkeys(nodes, 0.9), replaces=node)
    assert not memory.get(node).is_private


@pytest.mark.parametrize("said", [[], {}, 0.0, "no", True, "true", ["yes"]])
def test_a_concept_that_was_just_written_is_sound_whatever_says_that_a_member_is_private(
    memory: Memory, said: object
) -> None:
    memory.add([{"text": "a secret paint", "metadata": {"private": said}}])
    concept(memory, [memory.search("secret")[0].node.id])
    assert memory.concepts()[0].is_sound


def test_what_is_private_is_said_without_reading_the_texts(memory: Memory) -> None:
    ids = memory.insert_nodes([f"paint{i} " * 50_000 for i in range(6)])
    [secret] = memory.insert_nodes([{"text": "a secret paint", "metadata": {"private": "yes"}}])
    assert memory.private_among([*ids, secret]) == {secret}
    tracemalloc.start()
    try:
        memory.private_among(ids)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_concept_of_what_is_gone_is_not_stored(memory: Memory) -> None:
    [node] = memory.insert_nodes(["a fact"])
    assert memory.put_concept(Concept("facts"), {node: 0.9, 999: 0.9}) is None
    assert memory.stats().nodes == 1


def test_a_concept_that_is_written_anew_keeps_its_id(memory: Memory) -> None:
    nodes = memory.insert_nodes(COLOURS)
    node = concept(memory, nodes[:3])
    again = memory.put_concept(Concept("dyes and lacquers", {"level": 1}), dict.fromkeys(nodes, 0.8), replaces=node)
    assert again == node
    assert memory.get(node).text == "dyes and lacquers"
    assert memory.concepts()[0].members == tuple(nodes)
    assert found(memory, "dyes and lacquers")[0] == node
    assert memory.check().findings == ()


def test_forgetting_a_source_deletes_the_concept_made_of_it(memory: Memory) -> None:
    memory.add([{"text": text, "source": f"s{i}"} for i, text in enumerate(COLOURS)])
    node = concept(memory, [1, 2, 3, 4])
    memory.forget("s0")
    assert memory.concepts() == []
    with pytest.raises(KeyError):
        memory.get(node)


@pytest.mark.parametrize("is_rewritten", [False, True])
def test_an_answer_made_of_a_former_concept_goes_with_what_that_was_made_of(memory: Memory, is_rewritten: bool) -> None:
    memory.add([{"text": text, "source": f"s{i}"} for i, text in enumerate(COLOURS)])
    node = concept(memory, [1, 2, 3, 4])
    above = concept(memory, [node], "of concepts")
    memory.record(interaction("a1", answer="azure", session="s", source_ids=(above,), used_ids=(above,)))
    memory.flush()
    if is_rewritten:
        memory.put_concept(Concept("dyes"), dict.fromkeys([2, 3, 4], 0.9), replaces=node)
    else:
        memory.dissolve_concept(node)
    memory.forget("s0")
    assert memory.interaction("a1").answer is None


def test_a_passage_that_was_asked_for_gives_way_to_no_concept(memory: Memory) -> None:
    nodes = memory.insert_nodes(COLOURS)
    node = concept(memory, nodes)
    assert found(memory, "red green blue paint azure")[-1] == node
    assert found(memory, "paint of all colours")[0] == node


def test_archived_members_are_found_through_their_concept(memory: Memory) -> None:
    old, _ = archived(memory)
    hits = memory.search("green paint coral")
    assert hits[0].node.id == old[2]
    assert hits[0].node.tier is Tier.COLD
    assert hits[0].node.text == COLOURS[2]
    assert len(memory._nearest) == 2


def test_archived_texts_that_begin_alike_are_no_copies_of_each_other(memory: Memory) -> None:
    beginning = "red green blue paint " * 5
    old = [old_node(memory, beginning + word) for word in ("azure", "beige", "coral")]
    use(memory, memory.insert_node("cargo crates compile"), 50, 0.0)
    concept(memory, old)
    assert memory.run_archival().archived == len(old)
    assert {hit.node.id for hit in memory.search("red green blue paint", 3)} >= set(old[:2])
    assert found(memory, "red green blue paint coral")[0] == old[2]
    whole = [hit.node.text for hit in memory.search("red green blue paint", 4) if hit.node.tier is Tier.COLD]
    assert len(set(whole)) == len(old)


def test_what_is_archived_without_any_concept_is_not_found(memory: Memory) -> None:
    old = old_node(memory)
    memory.run_archival()
    assert found(memory, "an old tale") == []
    concept(memory, [memory.insert_node("a fresh tale")])
    assert memory.file_archived() == 1
    assert old in found(memory, "an old tale")


def test_filters_and_past_times_hold_for_what_is_archived(memory: Memory) -> None:
    archived(memory)
    assert list(memory.search("coral paint", filter={"type": "Document"})) == []
    assert all(hit.node.tier is Tier.HOT for hit in memory.search("coral paint", as_of=memory.get(1).created + 1e6))


def test_links_of_archived_nodes_are_followed(memory: Memory) -> None:
    old, _ = archived(memory)
    fresh = memory.insert_node("entirely unrelated words")
    memory.insert_edge(old[1], fresh, EdgeType.CITES, 1.0)
    assert memory._cold.around([], [old[1]], 1, 16) == {fresh: 1}
    assert memory._cold.around([fresh], [], 1, 16) == {old[1]: 1}


def test_links_lead_to_no_answer_on_probation_of_another_session(memory: Memory) -> None:
    old, _ = archived(memory)
    source = memory.insert_node("borrow a secret garden")
    memory.insert_edge(source, old[0], EdgeType.CITES, 1.0)
    memory.record(interaction("a1", answer="hidden zebra", session="alice", source_ids=(source,), used_ids=(source,)))
    memory.flush()
    hits = memory.search("borrow secret garden", session="bob")
    assert source in [hit.node.id for hit in hits]
    assert not any(hit.node.on_probation for hit in hits)


def test_dissolving_a_concept_brings_its_members_back(memory: Memory) -> None:
    old, node = archived(memory)
    assert memory.dissolve_concept(node) == len(old)
    assert memory.concepts() == []
    assert all(memory.get(one).tier is Tier.HOT for one in old)
    assert found(memory, "coral paint")[0] == old[2]
    with pytest.raises(KeyError):
        memory.dissolve_concept(node)


def test_nothing_of_what_was_forgotten_is_left_on_a_shelf(memory: Memory) -> None:
    memory.add([{"text": text, "source": f"s{i}"} for i, text in enumerate(COLOURS)])
    for i in range(1, 5):
        use(memory, i, 0, 100.0)
    concept(memory, [2, 3, 4])
    memory.run_archival()
    memory.forget("s0")
    with memory._archive.reading() as cold:
        assert {row[0] for row in cold.execute("SELECT node FROM filed")} == {2, 3, 4}
        assert [row[0] for row in cold.execute("SELECT length(nodes) / 8 FROM shelves")] == [3]
        assert list(cold.execute("SELECT rowid FROM words WHERE words MATCH 'azure'")) == []


@pytest.mark.parametrize("later", [lambda m: m.forget("s1"), lambda m: m.compact(), lambda m: m.run_archival()])
def test_a_large_shelf_is_packed_anew_later_than_what_comes_back_from_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, later: Callable[[Memory], object]
) -> None:
    monkeypatch.setattr("ruvllm.memory.shelves.PACKED_AT_ONCE", 0)
    memory.add([{"text": text, "source": f"s{i}"} for i, text in enumerate(COLOURS)])
    for i in range(1, 5):
        use(memory, i, 0, 100.0)
    concept(memory, [1, 2, 3, 4])
    memory.run_archival()
    before = found(memory, COLOURS[2])

    def packed() -> list[int]:
        with memory._archive.reading() as cold:
            return list(np.frombuffer(cold.execute("SELECT nodes FROM shelves").get, np.int64).tolist())

    memory.rehydrate([2])
    assert packed() == [1, 2, 3, 4] and found(memory, COLOURS[2]) == before
    later(memory)
    assert packed() == [1, 3, 4] and found(memory, COLOURS[2])[0] == before[0]


def test_shelves_belong_to_one_namespace(memory: Memory, open_memory: Callable[..., Memory]) -> None:
    archived(memory)
    memory.close()
    other = open_memory(namespace="other")
    other.insert_node("something else")
    assert [hit.node.text for hit in other.search("coral paint")] == ["something else"]


def test_reading_only_finds_what_is_archived(memory: Memory, open_memory: Callable[..., Memory]) -> None:
    old, _ = archived(memory)
    reader = open_memory(read_only=True)
    assert found(reader, "coral paint")[0] == old[2]


@pytest.mark.parametrize("was_killed", [False, True])
def test_a_brain_whose_archive_is_empty_again_is_searched_by_another_embedder(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, was_killed: bool
) -> None:
    old, _ = archived(memory)
    assert found(memory, "coral paint")[0] == old[2]
    with monkeypatch.context() as patch:
        if was_killed:  # after the nodes were back, before the file was tidied
            patch.setattr(memory._archive, "_drop", lambda _: None)
        memory.rehydrate(old)
    memory.reembed(WordEmbedder(32, "words-32"))
    assert found(memory, "coral paint")[0] == old[2]


def test_who_writes_the_cold_file_has_it_alone_from_the_start(memory: Memory, brain: Path) -> None:
    archived(memory)
    other = apsw.Connection(str(brain / "cold.db"))
    with memory._archive.writing(), pytest.raises(apsw.BusyError):
        other.execute("BEGIN IMMEDIATE")


def test_a_damaged_cold_file_does_not_stop_searches(memory: Memory, brain: Path) -> None:
    _, node = archived(memory)
    (brain / "cold.db").write_bytes(b"no database at all " * 500)
    memory._cold.reload()
    assert found(memory, "paint of all colours")[0] == node


def test_what_else_lies_on_the_shelf_of_a_dissolved_concept_is_found_until_it_is_filed_anew(memory: Memory) -> None:
    _, node = archived(memory)
    alone = old_node(memory, "crimson coral reef")
    memory.run_archival()
    memory.dissolve_concept(node)
    assert memory.get(alone).tier is Tier.COLD
    assert alone in found(memory, "crimson coral reef")


def test_no_search_or_return_reads_the_whole_namespace(memory: Memory) -> None:
    old, _ = archived(memory)
    memory.search("coral paint")  # reads what is kept in memory
    reader = memory._store.reader()
    asked: list[tuple[str, Any]] = []

    def note(_: apsw.Cursor, sql: str, values: Any) -> bool:
        asked.append((sql, values))
        return True

    reader.exec_trace = note
    memory.search("green paint coral")
    memory.rehydrate(old[:1])
    reader.exec_trace = None
    plans = [step[3] for sql, values in asked for step in reader.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert plans
    assert not [step for step in plans if "nodes_by_source" in step or "SCAN nodes" in step]


def promoted(memory: Memory) -> int:
    memory.record(interaction(answer="red paint is a secret"))
    node = memory.interaction("a1").answer_node or 0
    memory.promote(node)
    return node


@pytest.mark.parametrize(
    "take_back",
    [
        lambda memory, node: memory.revoke(node),
        lambda memory, node: memory.feedback("a1", Feedback(correction="blue paint is none")),
        lambda memory, node: memory.set_trust("paints", 0.0),
        lambda memory, node: memory.add([{"text": "green paint is nicer", "source": "paints"}]),
        lambda memory, node: memory.forget("paints", cascade=False),
        lambda memory, node: memory.forget("paints"),
    ],
)
def test_a_concept_of_what_holds_no_longer_is_shown_by_no_search(
    memory: Memory, open_memory: Callable[..., Memory], take_back: Callable[[Memory, int], object]
) -> None:
    memory.add([{"text": "green paint is nice", "source": "paints"}])
    answer, fact = promoted(memory), memory.search("green paint")[0].node.id
    lower = concept(memory, [answer, fact, *memory.insert_nodes(COLOURS)], "paint quoted in confidence")
    concept(memory, [lower], "quoted by another concept of paint")
    reader = open_memory(read_only=True)

    def shown(memory: Memory) -> set[NodeType]:
        hits = memory.search_with_concept_boost("paint quoted", boost=5.0)
        return {node.type for node in (*(hit.node for hit in hits), *memory.find("quoted"))}

    assert NodeType.CONCEPT in shown(memory) & shown(reader)
    take_back(memory, answer)
    assert NodeType.CONCEPT not in shown(memory) | shown(reader)
    assert memory.check().findings == ()


def test_a_withdrawn_correction_is_quoted_by_no_concept(memory: Memory) -> None:
    memory.record(interaction("a1"))
    memory.feedback("a1", Feedback(correction="paint is wrongly quoted"))
    [wrong] = found(memory, "paint is wrongly quoted")
    mixed = concept(memory, [wrong, *memory.insert_nodes(COLOURS)], "paint wrongly quoted among others")
    only = concept(memory, [wrong], "paint wrongly quoted alone")
    above = concept(memory, [only], "of the concept of it alone")
    assert mixed in found(memory, "paint wrongly quoted among others")
    memory.feedback("a1", Feedback(correction="paint is rightly quoted"))
    assert mixed not in found(memory, "paint wrongly quoted among others")
    assert [(one.id, one.is_hidden) for one in memory.concepts()] == [(mixed, True)]
    assert not memory.texts([only, above]) and memory.check().findings == ()


def test_a_concept_goes_with_the_last_that_it_contains(memory: Memory) -> None:
    memory.add([{"text": text, "source": "paints"} for text in COLOURS[:2]])
    user_made = memory.insert_node("paint in general", type=NodeType.CONCEPT)
    node = concept(memory, [hit.node.id for hit in memory.search(COLOURS[0]) if hit.node.id != user_made])
    memory.forget("paints", cascade=False)
    assert memory.texts([node, user_made]).keys() == {user_made}


def test_what_a_run_that_failed_left_without_a_shelf_has_one_after_the_next(memory: Memory) -> None:
    old, _ = archived(memory)
    with memory._archive.writing() as cold:
        unfile(cold, old)
    memory._cold.reload()
    assert not set(found(memory, "red green blue azure")) & set(old)
    assert memory.run_archival().archived == 0
    assert set(found(memory, "red green blue azure")) & set(old)
