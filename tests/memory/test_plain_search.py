"""ruvllm/memory/plain_search.py: what is found by words and vectors alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ruvllm.config import Config
from ruvllm.memory import Memory

TEXTS = ["The supply ship arrives every six weeks.", "Bread is baked on Fridays.", "Terns nest on high cliffs."]


@pytest.fixture
def stocked(memory: Memory) -> Memory:
    memory.add([{"text": text, "source": f"s{i}", "metadata": {"n": i}} for i, text in enumerate(TEXTS)])
    return memory


def test_words_alone_find_without_any_model(stocked: Memory) -> None:
    before = stocked._embedder().texts_encoded  # type: ignore[attr-defined]
    hits = stocked.search_plainly("when does the ship arrive")
    assert [hit.node.text for hit in hits] == [TEXTS[0]] and hits[0].keyword_rank == 1
    assert stocked._embedder().texts_encoded == before  # type: ignore[attr-defined]


def test_a_vector_finds_what_words_do_not(stocked: Memory) -> None:
    vector = stocked.encode(["the supply ship arrives every six weeks."])[0]
    hits = stocked.search_plainly("zzz", query_vector=vector)
    assert hits[0].node.text == TEXTS[0] and hits[0].similarity == pytest.approx(1.0, abs=1e-3)


def test_filter_trust_and_k_count(stocked: Memory) -> None:
    assert [hit.node.source for hit in stocked.search_plainly("ship bread", filter={"n": 1})] == ["s1"]
    assert len(stocked.search_plainly("ship bread terns", 2)) == 2
    stocked.set_trust("s0", 0.0)
    assert [hit.node.source for hit in stocked.search_plainly("ship bread")] == ["s1"]


def test_an_empty_brain_has_nothing(memory: Memory) -> None:
    assert memory.search_plainly("anything") == []


def test_what_lacks_its_index_says_so(open_memory: Callable[..., Memory], hnsw_config: Config) -> None:
    with open_memory(config=hnsw_config) as memory:
        memory.add([f"text number {i}" for i in range(20)])
        memory.search("text")
        assert not memory.lacks_index
        memory.compact()
    for file in (memory.path / "index").glob("default.hnsw*"):
        file.unlink()
    reader = open_memory(config=hnsw_config, read_only=True)
    assert len(reader.search("text number 7")) == 10 and reader.lacks_index
