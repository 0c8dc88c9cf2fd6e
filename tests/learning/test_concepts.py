"""ruvllm/learning/concepts.py and faithfulness.py: a summary says what the members say, or it is quoted from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory.fakes import WordEmbedder

from ruvllm.config import load_config
from ruvllm.embedding import open_embedder
from ruvllm.errors import EndpointError
from ruvllm.inference import open_engine
from ruvllm.learning.concepts import ClusterSummarizer, TermCounts
from ruvllm.learning.faithfulness import Grounds
from ruvllm.types import NodeType

from .scripted import ScriptedEngine

RUST = ["Rust is memory safe", "Rust has zero-cost abstractions", "Rust prevents data races"]
encode = WordEmbedder().encode


def test_summarization_creates_concept_node() -> None:
    concept = ClusterSummarizer(ScriptedEngine("Rust is memory safe and prevents data races."), encode).summarize(RUST)
    assert concept is not None
    assert "rust" in concept.text.lower()
    assert concept.type is NodeType.CONCEPT
    assert concept.metadata["source_cluster_size"] == 3
    assert (concept.metadata["summary"], concept.metadata["model"]) == ("generated", "scripted")


@pytest.mark.real
def test_summarization_creates_concept_node_by_a_real_model(minilm_dir: Path, smollm2_dir: Path) -> None:
    config = load_config(environment={}, overrides={"models": {"offline": True}})
    engine = open_engine(str(smollm2_dir), config.generation, config.models)
    embedder = open_embedder(config.embedding, config.models)
    concept = ClusterSummarizer(engine, embedder.encode).summarize(RUST)
    engine.close()
    assert concept is not None
    assert "rust" in concept.text.lower()
    assert concept.type is NodeType.CONCEPT
    assert concept.metadata["source_cluster_size"] == 3


def test_sentences_that_no_member_supports_are_dropped() -> None:
    told = "Rust is memory safe and prevents data races. The moon is made of green cheese."
    concept = ClusterSummarizer(ScriptedEngine(told), encode).summarize(RUST)
    assert concept is not None
    assert concept.text == "Rust is memory safe and prevents data races."
    assert (concept.metadata["sentences"], concept.metadata["supported"]) == (2, 1)


@pytest.mark.parametrize("told", ["", "The moon is made of green cheese.", "Nothing."])
def test_members_are_quoted_where_the_model_says_nothing_of_theirs(told: str) -> None:
    concept = ClusterSummarizer(ScriptedEngine(told), encode).summarize(RUST)
    assert concept is not None
    assert concept.metadata["summary"] == "extractive"
    assert "model" not in concept.metadata
    assert all(sentence in concept.text for sentence in RUST)


def test_a_model_that_fails_is_no_obstacle() -> None:
    failing = ScriptedEngine("", error=EndpointError("down", url="http://x"))
    concept = ClusterSummarizer(failing, encode).summarize(RUST)
    assert concept is not None
    assert concept.metadata["summary"] == "extractive"


def test_a_cancelled_summary_is_none() -> None:
    assert ClusterSummarizer(None, encode).summarize(RUST, cancelled=lambda: True) is None


def test_no_members_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="texts"):
        ClusterSummarizer(None, encode).summarize([])


@pytest.mark.parametrize(
    ("sentence", "is_supported"),
    [
        ("In 1999 Ada built 12 engines in Paris.", True),
        ("In 1999 Ada built 13 engines in Paris.", False),
        ("In 1999 Ada built 12 engines in Berlin.", False),
    ],
)
def test_a_number_or_a_name_that_no_member_has_is_not_supported(sentence: str, is_supported: bool) -> None:
    texts = ["In 1999 Ada built 12 engines in Paris."]
    [support] = Grounds(texts, encode(texts), encode).support([sentence])
    assert support.is_enough == is_supported


def test_keywords_tell_a_cluster_from_the_rest() -> None:
    background = TermCounts([f"people talk about {word}" for word in "rust bread rain cars music".split()])
    words = background.keywords(["people talk about rust", "people love rust"], 2)
    assert words[0] == "rust"
