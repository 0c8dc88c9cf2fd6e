"""ruvllm.memory.Memory as a whole: whatever is done to a brain, in any order, it holds what a plain model holds."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ruvllm.config import LearningConfig, RetrievalConfig, load_config
from ruvllm.memory import Memory
from ruvllm.memory.decay import DAY_S, half_lives
from ruvllm.memory.links import EDGE_TYPE_CODES
from ruvllm.types import EdgeType, NodeType, Tier

from .fakes import PATIENT, WordEmbedder

LEARNING = LearningConfig()
LIVES = {type_: seconds / DAY_S for type_, seconds in half_lives(LEARNING).items()}
STRUCTURE = {EdgeType.FOLLOWS, EdgeType.CONTAINS, EdgeType.DERIVED}
CLOSE = 1e-6  # what fades in the seconds of a test, and float32

CONFIG = load_config(
    environment={},
    overrides={
        "linking": {"names": False, "shared_names": False, "contains": False, "same_topic": 1.0},  # only Follows
        "ingest": {"chunk_tokens": 32},  # a chunk for each paragraph
    },
)
EVERYTHING = "thing"  # stands in every text
MANY = 10_000
SOURCES = ("one", "two", "three")

sources = st.sampled_from(SOURCES)
types = st.sampled_from(EdgeType)
weights = st.integers(0, 64).map(lambda part: part / 64)  # never exactly a floor below which edges are pruned


@dataclass
class Place:
    """A node as the model knows it."""

    text: str
    source: str | None
    type: NodeType
    is_cold: bool = False
    has_ended: bool = False

    @property
    def is_searched(self) -> bool:
        return not self.is_cold and not self.has_ended

    @property
    def is_chunk(self) -> bool:
        return self.type is NodeType.DOCUMENT and not self.has_ended


@dataclass
class Move:
    """What an outcome did to an edge; times are days of the model's clock."""

    part: float
    is_good: bool | None
    at: float
    rater: str


@dataclass
class Link:
    """An edge as the model knows it: its weight was `weight` at the later of `used` and `decayed`."""

    weight: float
    used: float
    decayed: float = 0.0
    success: int = 0
    failure: int = 0
    moves: dict[str, Move] = field(default_factory=dict)


Key = tuple[int, int, EdgeType]


def left(type_: EdgeType, days: float) -> float:
    return float(2.0 ** (-days / LIVES[type_])) if type_ in LIVES else 1.0


class BrainMachine(RuleBasedStateMachine):
    """Does the same to a brain and to the model. Time is let pass by putting all times of edges back by whole days."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.memory = self.open()
        self.now = 1.0  # days
        self.nodes: dict[int, Place] = {}
        self.edges: dict[Key, Link] = {}
        self.documents: dict[str, tuple[str, ...]] = {}  # source -> paragraphs
        self.moments: list[tuple[float, frozenset[int]]] = []
        self.fresh = count()

    def open(self) -> Memory:
        return Memory(self.folder / "brain", embedder=WordEmbedder(), config=CONFIG)

    def teardown(self) -> None:
        try:
            assert self.memory.check().findings == ()
        finally:
            self.memory.close()
            shutil.rmtree(self.folder)

    # -- the model's own reckoning -----------------------------------------------------------------------------------

    def searched(self) -> set[int]:
        return {node for node, place in self.nodes.items() if place.is_searched}

    def weight(self, key: Key) -> float:
        link = self.edges[key]
        return link.weight * left(key[2], self.now - max(link.used, link.decayed))

    def part(self, key: Key, id: str) -> float:
        link = self.edges[key]
        move = link.moves.get(id)
        return 0.0 if move is None else move.part * left(key[2], self.now - max(move.at, link.decayed))

    def delete(self, gone: set[int]) -> None:
        for node in gone:
            del self.nodes[node]
        self.edges = {key: link for key, link in self.edges.items() if gone.isdisjoint(key[:2])}

    @initialize(weights=st.lists(weights, min_size=4, max_size=4))
    def start_with_something(self, weights: list[float]) -> None:
        for source in SOURCES[:2]:
            self.insert_node(NodeType.FACT, source)
            self.ingest(source, 2)
        fading = (EdgeType.CITES, EdgeType.SAME_TOPIC, EdgeType.AGENT_STEP, EdgeType.DERIVED)
        nodes = sorted(self.nodes)
        for src, dst, type_, weight in zip(nodes, nodes[2:], fading, weights, strict=False):
            self.link((src, dst, type_), weight)

    # -- nodes and edges ---------------------------------------------------------------------------------------------

    @rule(type_=st.sampled_from((NodeType.FACT, NodeType.CONCEPT)), source=st.none() | sources)
    def insert_node(self, type_: NodeType, source: str | None) -> None:
        text = f"fact{next(self.fresh)} thing"
        node = self.memory.insert_node(text, type=type_, source=source)
        assert node not in self.nodes
        self.nodes[node] = Place(text, source, type_)

    @precondition(lambda self: any(place.type is not NodeType.DOCUMENT for place in self.nodes.values()))
    @rule(data=st.data())
    def insert_node_again(self, data: st.DataObject) -> None:
        """What is searched is merged; beside what is archived a new node comes."""
        told = [place for _, place in sorted(self.nodes.items()) if place.type is not NodeType.DOCUMENT]
        place = data.draw(st.sampled_from(told))
        alike = {node for node in self.searched() if self.nodes[node].text == place.text}
        node = self.memory.insert_node(place.text, type=place.type)
        assert node in alike if alike else node not in self.nodes
        self.nodes.setdefault(node, Place(place.text, None, place.type))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), type_=types, weight=weights)
    def insert_edge(self, data: st.DataObject, type_: EdgeType, weight: float) -> None:
        nodes = st.sampled_from(sorted(self.nodes))
        self.link((data.draw(nodes), data.draw(nodes), type_), weight)

    @precondition(lambda self: self.edges)
    @rule(data=st.data(), weight=weights)
    def update_weight(self, data: st.DataObject, weight: float) -> None:
        self.link(data.draw(st.sampled_from(sorted(self.edges))), weight)

    def link(self, key: Key, weight: float) -> None:
        self.memory.insert_edge(*key, weight)
        link = self.edges.setdefault(key, Link(weight, self.now))
        link.weight, link.used, link.moves = weight, self.now, {}

    # -- documents ---------------------------------------------------------------------------------------------------

    @rule(source=sources, paragraphs=st.integers(1, 3))
    def ingest(self, source: str, paragraphs: int) -> None:
        """A source that is known is replaced."""
        new = tuple(f"text{next(self.fresh)} " + "thing " * 19 + "end." for _ in range(paragraphs))
        report = self.memory.add([{"text": "\n\n".join(new), "source": source}])
        is_known = source in self.documents
        assert (report.added, report.updated, report.chunks) == (not is_known, is_known, paragraphs)
        for place in self.nodes.values():
            if (place.type, place.source) == (NodeType.DOCUMENT, source):
                place.has_ended = True
        found = self.memory.search(EVERYTHING, MANY, filter={"source": source, "type": "Document"})
        ids = sorted(hit.node.id for hit in found)
        assert not self.nodes.keys() & set(ids)
        self.nodes |= {node: Place(text, source, NodeType.DOCUMENT) for node, text in zip(ids, new, strict=True)}
        self.edges |= {(a, b, EdgeType.FOLLOWS): Link(0.5, self.now) for a, b in pairwise(ids)}
        self.documents[source] = new

    @precondition(lambda self: self.documents)
    @rule(data=st.data())
    def ingest_again(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(sorted(self.documents)))
        report = self.memory.add([{"text": "\n\n".join(self.documents[source]), "source": source}])
        assert (report.added, report.updated, report.unchanged) == (0, 0, 1)

    @rule(source=sources, cascade=st.booleans())
    def forget(self, source: str, cascade: bool) -> None:
        gone = {node for node, place in self.nodes.items() if place.source == source}
        if not gone:
            with pytest.raises(ValueError, match="source: nothing here"):
                self.memory.forget(source, cascade=cascade)
            return
        derived = [(src, dst) for src, dst, type_ in self.edges if type_ is EdgeType.DERIVED]
        while cascade and (more := {src for src, dst in derived if dst in gone} - gone):
            gone |= more
        assert self.memory.forget(source, cascade=cascade) == len(gone)
        self.delete(gone)
        held = {place.source for place in self.nodes.values() if place.is_chunk}
        self.documents = {name: text for name, text in self.documents.items() if name in held}

    # -- what is learned and forgotten -------------------------------------------------------------------------------

    @precondition(lambda self: any(src != dst for src, dst, _ in self.edges))
    @rule(
        data=st.data(),
        quality=weights,
        success=st.none() | st.booleans(),
        rater=st.sampled_from(("ann", "bob")),
        id=st.sampled_from(("x", "y", "z")),
    )
    def outcome(self, data: st.DataObject, quality: float, success: bool | None, rater: str, id: str) -> None:
        """An id that is known replaces what was said under it."""
        ends = st.sampled_from(sorted({key[:2] for key in self.edges if key[0] != key[1]}))
        self.apply(set(data.draw(ends)) | set(data.draw(ends)), quality, success, rater, id)

    @precondition(lambda self: any(link.moves for link in self.edges.values()))
    @rule(data=st.data(), quality=weights, rater=st.sampled_from(("ann", "bob")))
    def outcome_again(self, data: st.DataObject, quality: float, rater: str) -> None:
        said = sorted((key, id) for key, link in self.edges.items() for id in link.moves)
        (src, dst, _), id = data.draw(st.sampled_from(said))
        self.apply({src, dst}, quality, None, rater, id)

    def apply(self, nodes: set[int], quality: float, success: bool | None, rater: str, id: str) -> None:
        if any(self.nodes[node].is_cold for node in nodes):
            with pytest.raises(ValueError, match="is archived; rehydrate it first"):
                self.memory.apply_outcome(nodes, quality, success, rater=rater, id=id)
            return
        moved = self.memory.apply_outcome(nodes, quality, success, rater=rater, id=id)
        assert moved == self.learn(nodes, quality, success, rater, id)

    def learn(self, nodes: set[int], quality: float, success: bool | None, rater: str, id: str) -> int:
        is_good = None if success is not None and success is not (quality >= 0.5) else quality >= 0.5
        moved = 0
        for key, link in self.edges.items():
            old, weight = link.moves.get(id), self.weight(key)
            is_among = nodes.issuperset(key[:2]) and key[0] != key[1]
            base = min(max(weight - self.part(key, id), 0.0), 1.0)
            others = [move for name, move in link.moves.items() if name != id]
            spent = sum(abs(move.part) for move in others if (move.rater, move.at) == (rater, self.now))
            room = LEARNING.max_move_per_day - spent
            counts = is_good if is_among and room > 1e-12 else None
            if counts is None and old is None:
                continue
            gap = 0.0 if counts is None else 1.0 - base if counts else -base
            step = 2.0 * LEARNING.eta * abs(quality - 0.5) * gap
            new = min(max(base + min(max(step, -room), room), 0.0), 1.0) if counts is not None else base
            part = self.part(key, id) + new - weight
            link.success += (counts is True) - (old is not None and old.is_good is True)
            link.failure += (counts is False) - (old is not None and old.is_good is False)
            link.weight, link.used = new, self.now
            link.moves.pop(id, None)
            if counts is not None or abs(part) > 1e-12:
                link.moves[id] = Move(part, counts, self.now, rater)
            moved += counts is not None
        return moved

    @precondition(lambda self: self.edges)
    @rule(days=st.integers(1, 200))
    def let_time_pass(self, days: int) -> None:
        def work(connection: Any) -> None:
            for table, column in (("edges", "last_used"), ("edges", "decayed"), ("edge_moves", "at")):
                connection.execute(f"UPDATE {table} SET {column} = max({column} - ?, 0.0)", (days * DAY_S,))

        self.memory._store.write(work)
        self.memory._links.reload()
        self.now += days

    @rule(rate=st.sampled_from((None, 0.0, 0.01)), least=st.integers(0, 2), floor=st.sampled_from((0.05, 0.4)))
    def decay(self, rate: float | None, least: int, floor: float) -> None:
        for key, link in self.edges.items():
            if rate == 0.0 or (rate is None and key[2] not in LIVES):
                continue
            for id, move in link.moves.items():
                days = self.now - max(move.at, link.decayed)
                move.part = self.part(key, id) if rate is None else move.part * (1.0 - rate) ** days
            days = self.now - max(link.used, link.decayed)
            link.weight = self.weight(key) if rate is None else link.weight * (1.0 - rate) ** days
            link.decayed = self.now
        weak = {
            key
            for key, link in self.edges.items()
            if link.weight < floor and link.success + link.failure >= least and key[2] not in STRUCTURE
        }
        assert self.memory.apply_decay(rate, min_interactions=least, floor=floor).pruned == len(weak)
        self.edges = {key: link for key, link in self.edges.items() if key not in weak}

    # -- there and back ----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.searched())
    @rule(data=st.data())
    def archive(self, data: st.DataObject) -> None:
        """What was used least goes; every step's search uses all that is searched."""
        self.memory.flush()
        uses = {node: self.memory.get(node).use_count for node in self.searched()}
        limit = data.draw(st.sampled_from(sorted({*uses.values(), max(uses.values()) + 1})))
        old = {node for node in uses if uses[node] < limit and self.nodes[node].type is not NodeType.CONCEPT}
        assert self.memory.run_archival(max_age_days=0.0, min_use_count=limit).archived == len(old)
        for node in old:
            self.nodes[node].is_cold = True

    @precondition(lambda self: any(place.is_cold for place in self.nodes.values()))
    @rule(data=st.data())
    def rehydrate(self, data: st.DataObject) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.nodes)), min_size=1))
        back = [self.nodes[node] for node in some if self.nodes[node].is_cold]
        assert self.memory.rehydrate(some) == sum(not place.has_ended for place in back)
        for place in back:
            place.is_cold = False

    @rule()
    def reopen(self) -> None:
        self.memory.close()
        self.memory = self.open()

    # -- the past ----------------------------------------------------------------------------------------------------

    @rule()
    def remember(self) -> None:
        held = frozenset(node for node, place in self.nodes.items() if not place.has_ended)
        self.moments.append((time.time(), held))

    @precondition(lambda self: self.moments)
    @rule(data=st.data())
    def search_as_of(self, data: st.DataObject) -> None:
        """All that held then is found, but for what is deleted or archived now."""
        moment, held = data.draw(st.sampled_from(self.moments))
        found = {hit.node.id for hit in self.memory.search(EVERYTHING, MANY, as_of=moment)}
        assert found == {node for node in held if node in self.nodes and not self.nodes[node].is_cold}

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def nodes_are_the_same(self) -> None:
        for node, place in self.nodes.items():
            read = self.memory.get(node)
            assert (read.text, read.type, read.source) == (place.text, place.type, place.source)
            assert (read.tier is Tier.COLD) == place.is_cold

    @invariant()
    def edges_are_the_same(self) -> None:
        read = {}
        for node in self.nodes:
            for edge, _ in self.memory.neighbours(node):
                read[edge.src, edge.dst, edge.type] = (edge.weight, edge.success, edge.failure)
        expected = {key: (self.weight(key), link.success, link.failure) for key, link in self.edges.items()}
        assert read.keys() == expected.keys()
        for key, values in expected.items():
            assert read[key] == pytest.approx(values, abs=CLOSE)

    @invariant()
    def graph_is_the_same(self) -> None:
        graph, searched = self.memory._links.load(), self.searched()
        followed = {key for key in self.edges if searched.issuperset(key[:2]) and key[0] != key[1]}
        assert graph.num_edges == len(followed)
        for src, dst, type_ in followed:
            edge = graph.edge(src, dst, EDGE_TYPE_CODES[type_], now=time.time())
            assert edge is not None and edge.weight == pytest.approx(self.weight((src, dst, type_)), abs=CLOSE)

    @invariant()
    def search_finds_the_same(self) -> None:
        found = {hit.node.id for hit in self.memory.search(EVERYTHING, MANY)}
        concepts = {node for node in self.searched() if self.nodes[node].type is NodeType.CONCEPT}
        assert found >= self.searched() - concepts
        assert len(found & concepts) >= min(
            len(concepts), RetrievalConfig().strong
        )  # a search looks at no more of them
        assert all(self.nodes[node].is_cold for node in found - self.searched())  # read from the shelf of a concept
        assert {node.id for node in self.memory.find(EVERYTHING, MANY)} == self.searched()

    @invariant()
    def sources_are_the_same(self) -> None:
        chunks = Counter(place.source for place in self.nodes.values() if place.is_chunk)
        assert {summary.source: summary.chunks for summary in self.memory.sources()} == chunks
        assert self.documents.keys() == chunks.keys()


def test_brain_holds_what_the_model_holds() -> None:
    run_state_machine_as_test(
        BrainMachine, settings=settings(PATIENT, max_examples=15, stateful_step_count=20, print_blob=True)
    )


@pytest.mark.slow
def test_brain_holds_what_the_model_holds_for_long() -> None:
    run_state_machine_as_test(
        BrainMachine, settings=settings(PATIENT, max_examples=200, stateful_step_count=20, print_blob=True)
    )
