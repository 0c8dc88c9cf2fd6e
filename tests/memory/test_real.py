"""Memory on the real MiniLM: what the fake embedder cannot show."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm.config import EmbeddingConfig, ModelsConfig, load_config
from ruvllm.memory import Memory
from ruvllm.types import Embedder

pytestmark = [pytest.mark.real, pytest.mark.integration]


@pytest.fixture(scope="module")
def embedder(minilm_dir: Path, models_config: ModelsConfig) -> Embedder:
    from ruvllm.embedding import open_embedder

    return open_embedder(EmbeddingConfig(model=str(minilm_dir)), models_config)


@pytest.fixture
def memory(tmp_path: Path, embedder: Embedder) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=embedder) as memory:
        yield memory


def test_meaning_finds_what_words_do_not(memory: Memory) -> None:
    memory.add(["A feline was resting on the rug.", "Stock prices fell sharply.", "The recipe needs two eggs."])
    hit = memory.search("Where did the cat sleep?", k=1)[0]
    assert hit.node.text == "A feline was resting on the rug."
    assert hit.keyword_rank is None


def test_deduplication_prevents_near_duplicates(memory: Memory) -> None:
    text = "The committee approved the annual budget for the public library on Tuesday evening after a short debate."
    first = memory.insert_node(text)
    assert memory.insert_node(text.replace("a short debate.", "a short debate!")) == first
    assert memory.insert_node("On Tuesday evening the library's yearly budget was accepted by the board.") != first


def test_hybrid_search_finds_the_gold_passages(tmp_path: Path, embedder: Embedder, shared_dir: Path) -> None:
    """XQuAD: hit@5 of 60 questions over 120 passages with the real index."""
    with gzip.open(shared_dir / "data/qa/xquad_en_passages.jsonl.gz", "rt") as stream:
        passages = [json.loads(line) for line in stream][:120]
    known = {passage["pid"] for passage in passages}
    with gzip.open(shared_dir / "data/qa/xquad_en_questions.jsonl.gz", "rt") as stream:
        questions = [row for row in map(json.loads, stream) if row["gold_pid"] in known][:60]
    config = load_config(environment={}, overrides={"index": {"exact_below": 10}})
    with Memory(tmp_path / "brain", embedder=embedder, config=config) as memory:
        memory.add({"text": p["text"], "title": p["title"], "source": str(p["pid"])} for p in passages)
        sources = [{hit.node.source for hit in memory.search(q["question"], k=5)} for q in questions]
        assert memory.stats().index == "ready"
    assert np.mean([str(q["gold_pid"]) in five for q, five in zip(questions, sources, strict=True)]) >= 0.9
