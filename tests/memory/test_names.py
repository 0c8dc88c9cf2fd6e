"""ruvllm/memory/names.py: what counts as a name, and finding names in texts, against a plain scan."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from ruvllm.memory.names import (
    MAX_NODES,
    MAX_TERMS,
    MAX_WORDS,
    NameIndex,
    name_of,
    names_of,
    rare_terms,
    term_hash,
)


def index_of(*names: str) -> NameIndex:
    """The names, borne by the nodes 1, 2, ..."""
    index = NameIndex()
    index.add((name, node) for node, name in enumerate(names, start=1))
    return index


def scan(names: dict[str, list[int]], text: str) -> dict[str, list[int]]:
    """What `find` gives, slowly: at each word the longest name that begins there, then on behind it."""
    words = re.findall(r"\w+", text.lower())
    found, at = {}, 0
    while at < len(words):
        length = next((n for n in range(MAX_WORDS, 0, -1) if " ".join(words[at : at + n]) in names), 0)
        name = " ".join(words[at : at + length])
        if length and len(names[name]) <= MAX_NODES:
            found[name] = names[name]
        at += length or 1
    return found


# -- what counts as a name -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The Winter Palace", "the winter palace"),
        ("  Winter--Palace!\n", "winter palace"),
        ("Mercury (planet)", "mercury"),
        ("What this is for", None),
        ("Guide to the", "guide"),
        ("Zoë Ångström", "zoë ångström"),
        ("error_code 42", "error_code 42"),
        ("A Beautiful Mind", "a beautiful mind"),
    ],
)
def test_a_name_is_words_in_lower_case(text: str, name: str | None) -> None:
    assert name_of(text) == name


@pytest.mark.parametrize(
    "text", ["", "x", "The", "them", "of the", "1984", "12 30", "cat", "...", " ".join("abcdefghijk")]
)
def test_what_would_match_at_random_is_no_name(text: str) -> None:
    assert name_of(text) is None


def test_a_name_of_a_megabyte_is_read_at_its_beginning_only() -> None:
    assert name_of("word " * 200_000) is None
    assert len(name_of("x" * 1_000_000) or "") <= 40 * MAX_WORDS


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Marie Curie was a physicist.", ["marie curie"]),
        ("Marie Salomea Curie (1867-1934) was a physicist.", ["marie salomea curie", "marie curie"]),
        ("The Battle of Hastings was fought in 1066.", ["the battle of hastings"]),
        ("Petrel, a ship, comes monthly.", ["petrel"]),
        ("Petrel comes monthly.", []),
        ("Some words in lower case.", []),
        ("it rained", []),
    ],
)
def test_a_text_is_called_what_it_opens_with(text: str, names: list[str]) -> None:
    assert names_of(text, {}, is_first=False) == names


def test_a_title_names_the_first_node_only_and_a_heading_its_own() -> None:
    metadata = {"title": "Station Handbook", "heading": "Generators > Winter fuel"}
    assert names_of("some text", metadata, is_first=True) == ["station handbook", "winter fuel"]
    assert names_of("some text", metadata, is_first=False) == ["winter fuel"]


def test_a_turn_is_not_called_what_it_opens_with() -> None:
    assert names_of("Marie Curie: I was born in Warsaw.", {"speaker": "Marie Curie"}, is_first=False) == []


@pytest.mark.parametrize("metadata", [{"title": 7}, {"title": ["a list"]}, {"heading": {}}, {"title": None}])
def test_odd_titles_are_survived(metadata: dict[str, Any]) -> None:
    assert isinstance(names_of("some text", metadata, is_first=True), list)


def test_names_and_identifiers_are_rare_terms() -> None:
    text = "Then Ada Lovelace met Babbage about CVE-2024-1, max_tokens, vLLM and the weather of 1842."
    assert set(rare_terms(text)) - {"cve 2024 1"} == {"ada lovelace", "babbage", "cve-2024-1", "max_tokens", "vllm"}


def test_rare_terms_are_each_found_once_and_limited() -> None:
    assert rare_terms("in Oslo, in Oslo") == ["oslo"]
    assert len(rare_terms(", ".join(f"x{i}" for i in range(99)))) == MAX_TERMS


def test_the_hash_of_a_term_fits_a_column_and_stays_the_same() -> None:
    assert term_hash("oslo") == term_hash("oslo") != term_hash("bergen")
    assert all(-(2**63) <= term_hash(str(i)) < 2**63 for i in range(1000))


# -- finding names ---------------------------------------------------------------------------------------------------


def test_names_are_whole_words() -> None:
    index = index_of("winter palace", "petrel")
    assert index.find("The Winter   PALACE, and the Petrel's deck") == {"winter palace": [1], "petrel": [2]}
    assert index.find("midwinter palace, winter palaces, petrels") == {}


def test_the_longest_name_counts_where_two_overlap() -> None:
    index = index_of("winter", "winter palace", "palace museum")
    assert index.find("the winter palace museum") == {"winter palace": [2]}


def test_a_name_that_a_longer_one_hides_is_found_where_it_stands_alone() -> None:
    index = index_of("winter", "winter palace")
    assert index.find("the winter palace in winter") == {"winter palace": [2], "winter": [1]}


def test_adjacent_names_are_both_found() -> None:
    index = index_of("marie curie", "pierre")
    assert index.find("Marie Curie Pierre Marie Curie") == {"marie curie": [1], "pierre": [2]}


def test_names_of_several_indexes_are_weighed_together() -> None:
    index, other = index_of("winter palace", "museum"), index_of("palace museum guide", "museum", "palace")
    assert index.find("winter palace museum guide", other) == {"winter palace": [1], "museum": [2, 2]}
    assert index.find("the palace museum guide", other) == {"palace museum guide": [1]}


def test_a_name_that_many_bear_is_found_no_more() -> None:
    index = NameIndex()
    index.add(("petrel", node) for node in range(MAX_NODES))
    assert index.find("a petrel") == {"petrel": list(range(MAX_NODES))}
    index.add([("petrel", MAX_NODES)])
    assert index.find("a petrel") == {}


def test_a_name_is_found_again_when_fewer_bear_it() -> None:
    index = NameIndex()
    index.add(("petrel", node) for node in range(MAX_NODES + 1))
    index.remove([0])
    assert index.find("a petrel") == {"petrel": list(range(1, MAX_NODES + 1))}


def test_a_node_counts_once_however_often_it_is_added() -> None:
    index = NameIndex()
    index.add([("petrel", 1)] * 9)
    index.remove([1])
    assert (len(index), index.find("a petrel")) == (0, {})


def test_removed_nodes_are_not_found() -> None:
    index = index_of("petrel", "winter palace")
    index.add([("petrel", 7)])
    index.remove([1, 2, 999_999])
    assert index.find("petrel and winter palace") == {"petrel": [7]}


def test_a_removed_name_hides_no_other() -> None:
    index = index_of("winter", "winter palace")
    index.remove([2])
    assert index.find("the winter palace") == {"winter": [1]}


def test_a_removed_name_can_come_back() -> None:
    index = index_of("petrel")
    index.remove([1])
    index.add([("petrel", 2)])
    assert index.find("the petrel") == {"petrel": [2]}


@pytest.mark.parametrize("text", ["", " ", "...", "\0", "\ud800", "😀"])
def test_texts_without_words_hold_no_name(text: str) -> None:
    index = index_of("petrel")
    assert index.find(text) == {}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_and_goes_a_plain_scan_finds_the_same(seed: int) -> None:
    rng = random.Random(seed)
    words = [f"word{i}" for i in range(40)]  # few, so that names overlap and hide each other
    index, names = NameIndex(), dict[str, list[int]]()
    for step in range(30):
        made = [(" ".join(rng.choices(words, k=rng.randint(1, 4))), rng.randrange(5000)) for _ in range(200)]
        index.add(made)
        for name, node in made:
            if node not in names.setdefault(name, []):
                names[name].append(node)
        gone = set(rng.sample(range(5000), 500 if step % 3 else 0))
        index.remove(gone)
        names = {name: left for name, nodes in names.items() if (left := [n for n in nodes if n not in gone])}
        text = " ".join(rng.choices(words, k=150))
        assert index.find(text) == scan(names, text)
    assert len(index) == len(names) > 1000
