"""ruvllm/memory/search.py and filters.py: hybrid ranking, filters, sessions."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.config import Config, load_config
from ruvllm.memory import Memory
from ruvllm.memory.search import ON_PROBATION, fuse
from ruvllm.types import EdgeType, Feedback, NodeType

from .fakes import PATIENT, WordEmbedder, interaction

ANIMALS = ["cats chase mice", "dogs chase cats", "cows eat grass", "birds eat worms", "fish swim in water"]


@pytest.fixture
def animals(memory: Memory) -> Memory:
    memory.add(
        {"text": text, "source": f"s{i}", "metadata": {"tags": text.split(), "n": i}} for i, text in enumerate(ANIMALS)
    )
    return memory


def texts(hits: list[Any]) -> list[str]:
    return [hit.node.text for hit in hits]


@settings(PATIENT)
@given(st.lists(st.lists(st.integers(0, 30), unique=True), max_size=3), st.integers(1, 100))
def test_fusion_is_the_sum_of_reciprocal_ranks(rankings: list[list[int]], rrf_k: int) -> None:
    scores = fuse(rankings, rrf_k)
    for i in range(31):
        expected = [1 / (rrf_k + ranking.index(i) + 1) for ranking in rankings if i in ranking]
        assert scores.get(i, 0.0) == pytest.approx(sum(expected))


@settings(PATIENT, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip()))
def test_any_text_can_be_asked(animals: Memory, query: str) -> None:
    animals.search(query)


@pytest.mark.parametrize(
    "query", ['"', "a AND OR NOT", "NEAR(", "title:x*", "^cats", "-cats", "'; DROP TABLE nodes; --"]
)
def test_query_syntax_is_plain_text(animals: Memory, query: str) -> None:
    animals.search(query)
    assert animals.stats().nodes == 5


def test_words_and_meaning_both_find(animals: Memory) -> None:
    hits = animals.search("cats", k=2)
    assert set(texts(hits)) == {"cats chase mice", "dogs chase cats"}
    assert all(hit.keyword_rank in (1, 2) and hit.similarity is not None for hit in hits)


def test_every_hit_has_its_cosine(animals: Memory) -> None:
    embedder = WordEmbedder()
    query = embedder.encode(["birds in water"])[0]
    for hit in animals.search("birds in water"):
        vector = animals._store.value("SELECT vector FROM vectors WHERE node = ?", (hit.node.id,))
        assert hit.similarity == pytest.approx(float(np.frombuffer(vector, "<f4") @ query), abs=5e-4)


def test_keywords_ignore_case_accents_and_endings(memory: Memory) -> None:
    memory.add(["The café serves croissants", "Nothing of note"])
    hit = memory.search("CAFES croissant")[0]
    assert (hit.node.text, hit.keyword_rank) == ("The café serves croissants", 1)


@pytest.mark.parametrize(("others", "expected"), [(["short.md"], 4), ([], 5)])
def test_a_document_leaves_room_for_others_that_have_something_to_say(
    open_memory: Callable[..., Memory], others: list[str], expected: int
) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"ingest": {"chunk_tokens": 32}}))
    passages = [f"The red sled is number {i}. {' '.join(f'word{i}x{j}' for j in range(20))}." for i in range(20)]
    texts = {"long.md": "\n\n".join(passages)} | {source: "A sled and ten more things." for source in others}
    memory.ingest({"text": text, "source": source} for source, text in texts.items())
    hits = memory.search("red sled", k=5)
    assert (sum(hit.node.source == "long.md" for hit in hits), len(hits)) == (expected, 5)


def test_given_query_vector_saves_embedding(animals: Memory) -> None:
    embedder = animals._embedder()
    vector = embedder.encode(["cats chase mice"])[0]
    before = embedder.texts_encoded  # type: ignore[attr-defined]
    assert texts(animals.search("cats", 1, query_vector=vector)) == ["cats chase mice"]
    assert embedder.texts_encoded == before  # type: ignore[attr-defined]


def test_metadata_filtering(open_memory: Callable[..., Memory], hnsw_config: Config) -> None:
    """On the real index: few kept (exact), many kept (HNSW asked for more), none kept."""
    memory = open_memory(config=hnsw_config)
    rng = random.Random(0)
    words = [f"word{i}" for i in range(50)]
    memory.add(
        {
            "text": " ".join(rng.sample(words, 6)),
            "source": f"s{i}",
            "metadata": {"n": i, "half": i % 2, "tags": [f"t{i % 100}"]},
        }
        for i in range(400)
    )
    assert memory.stats().index == "ready"
    for condition, keeps in (
        ({"half": 1}, lambda n: n % 2 == 1),
        ({"tags": "t7"}, lambda n: n % 100 == 7),
        ({"tags": ["t7", "t8"], "half": 0}, lambda n: n % 100 == 8),
        ({"n": [3, 4, 5, 9999]}, lambda n: n in (3, 4, 5)),
        ({"type": "Document"}, lambda n: True),
        ({"source": "s17"}, lambda n: n == 17),
        ({"n": "3"}, lambda n: False),
        ({"missing": 1}, lambda n: False),
    ):
        found = [hit.node.metadata["n"] for hit in memory.search("word1 word2 word3", k=10, filter=condition)]
        assert len(found) == min(10, sum(keeps(n) for n in range(400))), condition
        assert all(keeps(n) for n in found), condition


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["a", "b", "", "1", 'q"']))
KEYS = st.sampled_from(["k", "$.k", 'a"b', "tags", "x y", "'"])


@settings(PATIENT, max_examples=60)
@given(
    st.lists(
        st.dictionaries(KEYS, st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=3), min_size=1, max_size=6
    ),
    st.dictionaries(KEYS, st.one_of(VALUES, st.lists(VALUES, max_size=3)), min_size=1, max_size=2),
)
def test_filters_agree_with_a_plain_twin(
    tmp_path_factory: Any, metadata: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    def has(value: Any, one: Any) -> bool:
        if one is None:
            return value is None
        return any(v is not None and v == one for v in (value if isinstance(value, list) else [value]))

    def passes(meta: dict[str, Any]) -> bool:
        return all(
            any(has(meta.get(key), one) for one in (wish if isinstance(wish, list) else [wish]))
            for key, wish in wanted.items()
        )

    with Memory(tmp_path_factory.mktemp("brain"), embedder=WordEmbedder()) as memory:
        ids = [
            memory.add([{"text": f"same words {i}", "metadata": meta}]).added and i for i, meta in enumerate(metadata)
        ]
        found = {int(hit.node.text.split()[-1]) for hit in memory.search("same words", filter=wanted)}
        assert found == {i for i in ids if passes(metadata[i])}


@pytest.mark.parametrize(
    ("bad", "error"),
    [({"a": {}}, ValueError), ({1: 2}, TypeError), (["a"], TypeError), ({"a": 2**70}, ValueError),
     ({"a": float("nan")}, ValueError)],
)  # fmt: skip
def test_bad_filters_are_named(animals: Memory, bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="filter"):
        animals.search("cats", filter=bad)


def test_filter_takes_thousands_of_values(animals: Memory) -> None:
    many = [f"x{i}" for i in range(5000)]
    for condition in ({"source": [*many, "s1"]}, {"tags": [*many, None, "dogs"]}, {"n": [*range(100, 5000), 1]}):
        assert texts(animals.search("cats", filter=condition)) == ["dogs chase cats"]


def test_any_number_of_hits_may_be_wanted(animals: Memory) -> None:
    assert texts(animals.search("cats", k=2**70)) == texts(animals.search("cats", k=1000))


@pytest.mark.parametrize("k", [0, -1, True, 2.5])
def test_bad_k_is_named(animals: Memory, k: Any) -> None:
    with pytest.raises(ValueError, match="k must be"):
        animals.search("cats", k)


@pytest.mark.parametrize("vector", [np.zeros(64), np.full(64, np.nan), np.ones(63), np.ones((2, 64))])
def test_bad_query_vector_is_named(animals: Memory, vector: np.ndarray) -> None:
    with pytest.raises(ValueError, match="query_vector"):
        animals.search("cats", query_vector=vector.astype(np.float32))


def test_empty_question_is_refused_and_empty_memory_finds_nothing(memory: Memory) -> None:
    with pytest.raises(ValueError, match="query must not be empty"):
        memory.search("  ")
    assert memory.search("anything") == []


def test_answers_on_probation_are_found_only_in_their_session(animals: Memory) -> None:
    animals.record(interaction(query="who purrs", answer="zebras purr loudly", session="alice"))
    animals.flush()
    assert "zebras purr loudly" in texts(animals.search("zebras purr", session="alice"))
    assert "zebras purr loudly" not in texts(animals.search("zebras purr", session="bob"))
    assert "zebras purr loudly" not in texts(animals.search("zebras purr"))


def test_earlier_questions_come_only_when_asked_for(animals: Memory) -> None:
    animals.record(interaction(query="who purrs", answer="zebras", session="alice"))
    animals.flush()
    assert "who purrs" not in texts(animals.search("who purrs", session="alice"))
    assert texts(animals.search("who purrs", session="alice", filter={"type": NodeType.QUERY})) == ["who purrs"]


def test_namespaces_do_not_see_each_other(open_memory: Callable[..., Memory]) -> None:
    first = open_memory(namespace="one")
    first.add(["a secret about cats"])
    first.close()
    second = open_memory(namespace="two")
    second.add(["dogs only"])
    assert texts(second.search("secret cats")) == ["dogs only"]
    assert second.sources()[0].title is None
    with pytest.raises(KeyError):
        second.get(1)


def test_trust_multiplies_the_score(memory: Memory) -> None:
    low = memory.insert_node("alpha beta gamma one", trust=0.1)
    high = memory.insert_node("alpha beta gamma two")
    scores = {hit.node.id: hit.score for hit in memory.search("alpha beta gamma")}
    assert list(scores) == [high, low]
    assert scores[low] < 0.3 * scores[high]


def test_a_corrected_answer_is_not_found_in_its_own_session(animals: Memory) -> None:
    animals.record(interaction("a1", query="who purrs", answer="zebras purr loudly", session="alice"))
    animals.feedback("a1", Feedback(correction="cats purr"))
    hits = texts(animals.search("zebras purr", session="alice"))
    assert "cats purr" in hits
    assert "zebras purr loudly" not in hits


def test_a_node_that_the_question_names_is_found_with_what_it_cites(memory: Memory) -> None:
    memory.add(
        [
            {"text": "Built in Gdansk by the yard of Jan Kowalski.", "title": "Petrel Voyager", "source": "ship"},
            {"text": "A painter and builder of boats, born 1901.", "title": "Jan Kowalski", "source": "man"},
            {"text": "Nothing of note happens here.", "title": "Elsewhere", "source": "other"},
        ]
    )
    hits = {
        hit.node.source: hit for hit in memory.search("When was the builder of the Petrel Voyager born?", explain=True)
    }
    assert list(hits).index("man") < list(hits).index("other")
    explanation = hits["ship"].explanation
    assert explanation is not None and "the question names it" in explanation.reason


def test_a_hit_that_a_link_led_to_has_its_path(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(
        config=load_config(environment={}, overrides={"retrieval": {"candidates": 2, "k": 2, "strong": 1}})
    )
    ship, fuel = memory.insert_node("Petrel ship"), memory.insert_node("diesel for winter")
    memory.insert_node("ship chandler Petrel")
    memory.insert_edge(ship, fuel, EdgeType.CITES, weight=0.9)
    (hit,) = [hit for hit in memory.search("Petrel ship", 5, explain=True) if hit.node.id == fuel]
    assert hit.explanation is not None
    assert [(step.start, step.end, step.type) for step in hit.explanation.path] == [(ship, fuel, EdgeType.CITES)]
    assert memory.search("Petrel ship", 5)[0].explanation is None


def test_concept_nodes_are_prioritized_in_retrieval(memory: Memory) -> None:
    detail = memory.insert_node("alpha beta gamma delta")
    concept = memory.insert_node("alpha beta things in general", type=NodeType.CONCEPT)
    memory.insert_edge(concept, detail, EdgeType.CONTAINS)
    assert [hit.node.id for hit in memory.search("alpha beta gamma delta")] == [detail, concept]
    assert [hit.node.id for hit in memory.search_with_concept_boost("alpha beta gamma delta")] == [concept, detail]


@pytest.mark.parametrize("boost", [0.5, float("nan"), float("inf")])
def test_bad_boost_is_named(memory: Memory, boost: float) -> None:
    with pytest.raises(ValueError, match="boost must be"):
        memory.search_with_concept_boost("x", boost=boost)


@pytest.mark.parametrize("hops", [-1, 5, True, 1.5])
def test_bad_hops_are_named(memory: Memory, hops: Any) -> None:
    with pytest.raises(ValueError, match="hops must be"):
        memory.search("x", hops=hops)


def test_what_a_session_keeps_on_probation_is_found_by_the_session(memory: Memory) -> None:
    sql = f"EXPLAIN QUERY PLAN SELECT id FROM nodes WHERE {ON_PROBATION} ORDER BY id DESC"
    plan = [row[3] for row in memory._store.rows(sql, ("default", "alice", False, 1e9))]
    assert len(plan) == 1 and "INDEX nodes_by_session (namespace=? AND session=?)" in plan[0]


def test_of_a_long_session_the_nearest_answers_are_read(animals: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.search.NEAR_SESSION_NODES", 4)
    for number in range(12):
        answer = "The lighthouse keeper is Oda." if number == 3 else f"Ferry {number} leaves at {number} sharp."
        animals.record(interaction(f"a{number}", query=f"question {number}", answer=answer))
    animals.flush()
    hits = animals.search("Who is the lighthouse keeper?", k=20, session="alice")
    own = [hit.node.text for hit in hits if hit.node.on_probation]
    assert own[0] == "The lighthouse keeper is Oda."
    assert len(own) == 4


def test_of_copies_one_is_a_hit_while_others_have_something_to_say(memory: Memory) -> None:
    memory.add({"text": "The ferry leaves the harbour at nine.", "source": f"copy {i}"} for i in range(12))
    memory.add(["The ferry has two decks.", "The harbour has a crane."])
    assert {hit.node.text for hit in memory.search("When does the ferry leave the harbour?", 3)} == {
        "The ferry leaves the harbour at nine.",
        "The ferry has two decks.",
        "The harbour has a crane.",
    }
    assert len(memory.search("When does the ferry leave the harbour?", 10)) == 10  # where there is room, copies, too
