"""ruvllm/learning/compression.py: clusters become concepts once, again where they changed, and can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder, interaction

from ruvllm.config import CompressionConfig
from ruvllm.learning.compression import CompressionReport, compress
from ruvllm.memory import Memory
from ruvllm.types import EdgeType

from .scripted import ScriptedEngine

CONFIG = CompressionConfig(min_size=3, min_density=0.4)
PAINT = [f"red green blue paint {word}" for word in "one two three four".split()]
RUST = [f"cargo crates compile borrow {word}" for word in "five six seven".split()]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as opened:
        yield opened


def run(memory: Memory, engine: ScriptedEngine | None = None, **options: object) -> CompressionReport:
    @contextmanager
    def lend() -> Iterator[ScriptedEngine | None]:
        yield engine

    return compress(memory, lend, CONFIG, **options)  # type: ignore[arg-type]


def test_each_cluster_becomes_a_concept(memory: Memory) -> None:
    paint, rust = memory.insert_nodes(PAINT), memory.insert_nodes(RUST)
    report = run(memory)
    assert (report.made, report.changed, report.kept, report.finished) == (2, 0, 0, True)
    assert {one.members for one in memory.concepts()} == {tuple(paint), tuple(rust)}
    assert memory.check().findings == ()


def test_what_did_not_change_keeps_its_concept_and_costs_no_model(memory: Memory) -> None:
    memory.insert_nodes(PAINT + RUST)
    run(memory)
    before, engine = memory.concepts(), ScriptedEngine("red green blue paint")
    report = run(memory, engine)
    assert (report.made, report.changed, report.kept, engine.calls) == (0, 0, 2, 0)
    assert memory.concepts() == before


def test_only_the_cluster_that_changed_is_summed_up_again(memory: Memory) -> None:
    memory.insert_nodes(PAINT + RUST)
    run(memory)
    ids = {one.id for one in memory.concepts()}
    memory.insert_nodes([f"cargo crates compile borrow {word}" for word in "eight nine ten".split()])
    report = run(memory)
    assert (report.made, report.changed, report.kept) == (0, 1, 1)
    assert {one.id for one in memory.concepts()} == ids
    assert sorted(len(one.members) for one in memory.concepts()) == [4, 6]


def test_a_dry_run_writes_nothing(memory: Memory) -> None:
    memory.insert_nodes(PAINT)
    report = run(memory, dry_run=True)
    assert [(row.size, row.state) for row in report.clusters] == [(4, "new")]
    assert memory.concepts() == []


def test_a_forgotten_source_leaves_no_concept_and_the_rest_gets_a_new_one(memory: Memory) -> None:
    memory.add([{"text": text, "source": f"s{i}"} for i, text in enumerate(PAINT)])
    run(memory)
    memory.forget("s0")
    assert memory.concepts() == []
    assert run(memory).made == 1
    assert "one" not in memory.concepts()[0].text


def test_a_concept_that_fell_apart_is_dissolved(memory: Memory) -> None:
    nodes = [memory.insert_node(word) for word in "alpha beta gamma".split()]
    for i, node in enumerate(nodes):
        for other in nodes[i + 1 :]:
            memory.insert_edge(node, other, EdgeType.SAME_TOPIC, 0.9)
    assert run(memory).made == 1
    for i, node in enumerate(nodes):
        for other in nodes[i + 1 :]:
            memory.insert_edge(node, other, EdgeType.SAME_TOPIC, 0.0)
    report = run(memory)
    assert (report.dissolved, memory.concepts()) == (1, [])


def test_a_concept_whose_members_are_archived_stays(memory: Memory) -> None:
    memory.insert_nodes(PAINT)
    run(memory)
    [before] = memory.concepts()
    memory.run_archival(max_age_days=0.0, min_use_count=1000)
    report = run(memory)
    [after] = memory.concepts()
    assert (after.id, after.archived, report.reachable) == (before.id, frozenset(before.members), 4)


def test_what_is_forgotten_while_it_is_summed_up_or_dissolved_stops_no_pass(memory: Memory) -> None:
    @contextmanager
    def lend() -> Iterator[None]:
        memory.forget("/paint")
        yield None

    texts = [{"text": text, "source": f"/paint/{i}"} for i, text in enumerate(PAINT)]
    memory.add(texts)
    report = compress(memory, lend, CONFIG)
    assert (report.made, report.finished, memory.concepts()) == (0, True, [])
    memory.add(texts)
    run(memory)
    known = memory.concepts()
    memory.forget("/paint")
    memory.concepts = lambda: known  # type: ignore[method-assign]  # read just before
    report = run(memory)
    assert (report.dissolved, report.finished) == (0, True)


def test_a_revoked_answer_leaves_its_concept(memory: Memory) -> None:
    nodes = memory.insert_nodes(PAINT[:3])
    memory.record(interaction(answer=PAINT[3]))
    memory.flush()
    answer = memory.interaction("a1").answer_node
    memory.promote(answer)
    run(memory)
    assert memory.concepts()[0].members == (*nodes, answer)
    memory.revoke(answer)
    assert run(memory).changed == 1
    assert memory.concepts()[0].members == tuple(nodes)


def test_many_concepts_get_concepts_of_their_own(memory: Memory) -> None:
    for letter in "abcdefghijklmn":
        memory.insert_nodes([f"all red green blue paint {letter}{letter} {letter}{letter}{letter} {w}" for w in "xyz"])
    run(memory)
    levels = {one.level for one in memory.concepts()}
    assert 1 in levels
    above = [one for one in memory.concepts() if one.level == 2]
    below = {one.id for one in memory.concepts() if one.level == 1}
    assert all(set(one.members) <= below for one in above)


def test_a_cancelled_pass_keeps_what_it_wrote(memory: Memory) -> None:
    memory.insert_nodes(PAINT + RUST)
    report = run(memory, cancelled=lambda: len(memory.concepts()) > 0)
    assert (report.finished, len(memory.concepts())) == (False, 1)
    assert run(memory).finished
    assert len(memory.concepts()) == 2


@pytest.mark.parametrize("is_private", [True, False])
@pytest.mark.parametrize("is_local", [True, False])
def test_an_endpoint_sums_up_nothing_that_is_private(memory: Memory, is_local: bool, is_private: bool) -> None:
    memory.insert_nodes([{"text": text, "metadata": {"private": is_private}} for text in PAINT[:1]])
    memory.insert_nodes(PAINT[1:])
    engine = ScriptedEngine("red green blue paint one")
    run(memory, engine, is_local=is_local)
    [concept] = memory.concepts()
    assert bool(engine.calls) == (is_local or not is_private) == (concept.metadata["summary"] == "generated")
    assert memory.get(concept.id).is_private == is_private


def test_a_concept_that_does_not_say_that_it_is_private_is_written_anew(memory: Memory) -> None:
    memory.insert_nodes([{"text": text, "metadata": {"private": True}} for text in PAINT])
    run(memory)
    memory._store.write(lambda c: c.execute(
        "UPDATE nodes SET metadata = json_remove(metadata, '$.private') WHERE type = 'Concept'").get)  # fmt: skip
    assert [one.is_exposed for one in memory.concepts()] == [True]
    assert run(memory).changed == 1
    [concept] = memory.concepts()
    assert memory.get(concept.id).is_private and not concept.is_exposed


@pytest.mark.parametrize("cascade", [None, False])
def test_a_concept_that_is_hidden_is_written_anew(memory: Memory, cascade: bool | None) -> None:
    memory.add([{"text": text, "source": str(i)} for i, text in enumerate(PAINT)])
    run(memory)
    if cascade is None:
        memory.set_trust("3", 0.0)
        memory.set_trust("3", 1.0)
    else:
        memory.forget("3", cascade=cascade)
    assert [one.is_hidden for one in memory.concepts()] == [True]
    assert run(memory).changed == 1
    assert [(one.is_hidden, memory.get(one.id).trust) for one in memory.concepts()] == [(False, 1.0)]
