"""Feedback changes what memory holds and what the next question finds, on the real parts together."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder, interaction

import ruvllm
from ruvllm.memory import Memory
from ruvllm.types import Feedback, NodeType

pytestmark = [pytest.mark.integration]

DOCUMENTS = Path(str(files("ruvllm") / "demo" / "docs"))
FACT = "Jonas Vik repairs the radios."


@pytest.mark.real
@pytest.mark.parametrize("said", [{"quality": 0.95}, {"rating": 5}])
def test_learning_updates_memory(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path, said: dict[str, float]) -> None:
    with ruvllm.open(tmp_path) as llm:
        llm.ingest(DOCUMENTS)
        nodes, edges = llm.stats().nodes, llm.stats().edges
        response = llm.ask("Where is the rescue sled kept?", session="alice")
        llm.feedback(response.id, **said)
        stats, why = llm.stats(), llm.why(response.id)
        assert stats.nodes > nodes and stats.edges > edges
        strengthened = [e for e in why.edges if e.moved_here > 0 and e.edge.src == why.answer_node]
        assert strengthened and all(e.edge.success == 1 for e in strengthened)
        again = llm.retrieve("Where is the rescue sled kept?", session="alice")
        assert why.answer_node in {hit.node.id for hit in again}


@pytest.mark.real
def test_a_correction_answers_the_next_question(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        llm.ingest(DOCUMENTS)
        first = llm.ask("Who repairs the radios?")
        assert "Jonas Vik" not in first.text
        llm.feedback(first.id, correction=FACT)
    with ruvllm.open(tmp_path) as llm:
        second = llm.ask("Who should I ask about a broken radio?")
        assert "Jonas Vik" in second.text
        assert second.sources[0].text == FACT


def test_feedback_adds_knowledge_without_a_model(tmp_path: Path) -> None:
    with Memory(tmp_path, embedder=WordEmbedder()) as memory:
        memory.ingest(["The sled is kept in hut three.", "Bread is baked on Fridays."])
        before = memory.stats().nodes
        memory.record(interaction(query="Who repairs the radios?", answer="I do not know.", source_ids=(1, 2)))
        memory.feedback("a1", Feedback(quality=0.95, rating=5, correction=FACT))
        assert memory.stats().nodes == before + 3  # question, answer, correction
        found = memory.search("Who repairs the radios?", 1)[0].node
        assert (found.type, found.text, found.trust) == (NodeType.FACT, FACT, 1.0)


def test_learning_hears_signals_only_when_asked_to(tmp_path: Path, open_system: Callable[..., ruvllm.RuvLLM]) -> None:
    for enabled in (False, True):
        llm = open_system(tmp_path / str(enabled), enabled=enabled)
        for i, query in enumerate(("Where is the sled kept?", "Where is the sled kept now?")):
            vector = WordEmbedder().encode([query])[0]
            llm.memory.record(interaction(f"a{i}", query=query, created=1000.0 + i, query_vector=vector))
        assert llm.learn().signals == (2 if enabled else 0)  # asked again, and given up since


@pytest.fixture
def open_system(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ruvllm.RuvLLM]:
    """Open a system over the word embedder."""
    monkeypatch.setattr("ruvllm.embedding.open_embedder", lambda *_: WordEmbedder())

    def open_(path: Path, *, enabled: bool) -> ruvllm.RuvLLM:
        config = ruvllm.load_config(environment={}, overrides={"signals": {"enabled": enabled}})
        return ruvllm.open(path, config=config)

    return open_
