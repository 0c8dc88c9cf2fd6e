"""ruvllm/memory/who_says.py: the keywords in memory and the database find the same older nodes for a name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import apsw
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.memory import Memory
from ruvllm.memory.names import words_of
from ruvllm.memory.who_says import MANY_NAMES, MAX_FOUND, WhoSays, says

OpenMemory = Callable[..., Memory]

SURNAMES = ("Abbott", "Bell", "Castle", "Dunn", "Ellery", "Frost")


def people(count: int, seed: int) -> list[dict[str, str]]:
    """Documents about people of different names; each says two other names, whole or scattered."""
    rng = random.Random(seed)
    names = [f"Person{i} {SURNAMES[i % len(SURNAMES)]}" for i in range(count)]
    return [
        {
            "source": name,
            "title": name,
            "text": f"met {rng.choice(names)} and {rng.choice(names).split()[0]}, {rng.choice(SURNAMES)}, once",
        }
        for name in rng.sample(names, count)
    ]


def cites(memory: Memory) -> set[tuple[object, ...]]:
    sql = (
        "SELECT a.source, b.source, round(weight, 9) FROM edges "
        "JOIN nodes a ON a.id = src JOIN nodes b ON b.id = dst WHERE edges.type = 'Cites'"
    )
    return set(memory._store.rows(sql))


def who_says(memory: Memory) -> WhoSays:
    return WhoSays(memory._store, memory._keywords, memory.namespace)


def asked(memory: Memory, *names: str, others: bool = False) -> dict[str, list[int]]:
    """What is known of names within a transaction, that may have a node of its own."""

    def work(connection: apsw.Connection) -> dict[str, list[int]]:
        first = int(connection.execute("SELECT max(id) + 1 FROM nodes").get)
        if others:
            connection.execute(
                "INSERT INTO nodes (namespace, type, text, created, last_used) VALUES ('a', 'b', 'c', 0, 0)"
            )
        return who_says(memory).of(connection, names, first + others)

    return memory._store.write(work)


def test_many_documents_at_once_are_linked_as_one_by_one(open_memory: OpenMemory, tmp_path: Path) -> None:
    documents = people(3 * MANY_NAMES, seed=1)
    together, apart = open_memory(tmp_path / "a"), open_memory(tmp_path / "b")
    together.add(documents[: 2 * MANY_NAMES])
    together.add(documents[2 * MANY_NAMES :])
    assert together._keywords.is_loaded
    for document in documents:
        apart.add([document])
    assert not apart._keywords.is_loaded
    assert len(cites(together)) > MANY_NAMES
    assert cites(together) == cites(apart)


def test_what_few_nodes_say_is_known_without_the_database(memory: Memory) -> None:
    memory.add(["the red barn stands", "a barn that is red", "the Red  Barn, again"])
    memory.search("barn")
    assert asked(memory, "red barn", "barn") == {"red barn": [1, 3]}  # one word may have many stems


def test_what_is_not_searched_any_more_says_nothing(memory: Memory) -> None:
    memory.add([{"text": f"the red barn, version {i}", "source": str(i)} for i in range(3)])
    memory.search("barn")
    memory.forget("1")
    assert asked(memory, "red barn") == {"red barn": [1, 3]}


def test_of_a_name_that_many_say_nothing_is_known(memory: Memory) -> None:
    memory.add([f"the red barn, number {i}" for i in range(MAX_FOUND + 1)])
    memory.search("barn")
    assert asked(memory, "red barn") == {}


def test_beside_another_work_of_the_transaction_nothing_is_known(memory: Memory) -> None:
    memory.add(["the red barn"])
    memory.search("barn")
    assert asked(memory, "red barn", others=True) == {}


WORDS = st.text(st.sampled_from("ab_. é\n"), max_size=12)


@given(WORDS, st.lists(st.sampled_from(["a", "b", "ab", "a_"]), min_size=1, max_size=3))
def test_a_name_stands_where_its_words_follow_each_other(text: str, name: list[str]) -> None:
    words = words_of(text)
    expected = any(words[i : i + len(name)] == name for i in range(len(words)))
    assert says(text.lower(), " ".join(name)) == expected
