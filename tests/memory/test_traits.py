"""ruvllm/memory/traits.py: small facts by node id, in step with the database."""

from __future__ import annotations

import numpy as np

from ruvllm.memory import Memory
from ruvllm.memory.traits import Traits
from ruvllm.types import NodeType


def test_traits_are_those_of_the_nodes(memory: Memory) -> None:
    memory.add([{"text": "part one. " * 300, "source": "s"}])
    fact = memory.insert_node("a fact", trust=0.25)
    concept = memory.insert_node("a concept", type=NodeType.CONCEPT)
    traits = memory._traits.of(np.array([1, 2, fact, concept]))
    assert traits["place"].tolist() == [1, 1, -fact, -concept]
    assert traits["trust"].tolist() == [1.0, 1.0, 0.25, 1.0]
    assert traits["length"].tolist() == [len(memory.get(int(node)).text) for node in (1, 2, fact, concept)]


def test_the_type_of_nodes_is_known(memory: Memory) -> None:
    memory.insert_node("a fact")
    concept = memory.insert_node("a concept", type=NodeType.CONCEPT)
    asked = np.array([concept - 1, concept, concept + 1, 10**12])
    assert memory._traits.are(asked, NodeType.CONCEPT).tolist() == [False, True, False, False]


def test_nodes_that_are_unknown_stand_alone_and_are_trusted(memory: Memory) -> None:
    traits = memory._traits.of(np.array([7, 10**12]))
    assert (traits["place"].tolist(), traits["trust"].tolist()) == ([-7, -(10**12)], [1.0, 1.0])


def test_what_comes_and_goes_is_followed(memory: Memory) -> None:
    assert memory._traits.of(np.array([1]))["trust"].tolist() == [1.0]  # read while nothing is there
    memory.add({"text": f"text {i}", "source": f"s{i}"} for i in range(300))
    ids = [memory.insert_node(f"node {i}", trust=0.5) for i in range(3)]
    memory.forget("s3")
    everyone = np.arange(ids[-1] + 2)
    traits = memory._traits.of(everyone)
    np.testing.assert_array_equal(traits, Traits(memory._store, memory.namespace).of(everyone))
    assert traits["trust"][ids].tolist() == [0.5, 0.5, 0.5]
    assert traits["place"][4] == -4  # of no document any more


def test_who_spoke_is_known_by_any_word_of_the_name(memory: Memory) -> None:
    names = ["Ann Lee", "Bo Smith", None, "Ann Marsh"]
    memory.add({"text": f"turn {i}", "metadata": {"speaker": name} if name else {}} for i, name in enumerate(names))
    traits = memory._traits.of(np.arange(1, 5))
    assert memory._traits.spoken_by("What did Ann say?", traits).tolist() == [1.0, 0.0, 0.0, 1.0]
    assert memory._traits.spoken_by("what did mr smith say", traits).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert not memory._traits.spoken_by("What did Bo say?", traits).any()  # two letters are no name


def test_a_date_that_the_question_names_is_known_also_soon_after(memory: Memory) -> None:
    dates = ["9:20 am on 3 May, 2023", "2023-05-09", "2023-05-20", None]
    memory.add({"text": f"turn {i}", "metadata": {"date": day} if day else {}} for i, day in enumerate(dates))
    traits = memory._traits.of(np.arange(1, 5))
    assert memory._traits.dated("What did she do on May 3, 2023?", traits).tolist() == [1.0, 1.0, 0.0, 0.0]
    assert memory._traits.dated("What did she do in May?", traits).tolist() == [1.0, 1.0, 1.0, 0.0]
    assert not memory._traits.dated("What may she have done?", traits).any()


def test_only_turns_of_a_dialogue_are_brief(memory: Memory) -> None:
    memory.ingest([{"turns": [{"speaker": "Ann", "text": "Yes, it did."}], "source": "chat"}])
    turn = int(memory._store.rows("SELECT max(id) FROM nodes")[0][0])
    fact = memory.insert_node("a fact")
    lengths = Traits.turn_lengths(memory._traits.of(np.array([turn, fact])))
    assert lengths.tolist() == [len(memory.get(turn).text), np.inf]
