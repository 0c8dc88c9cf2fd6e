"""The real parts together: real embedder, index, database and reader."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

import ruvllm
from ruvllm.cli.demo import QUESTIONS
from ruvllm.config import load_config
from ruvllm.types import Feedback, GenerationOptions, NodeType

pytestmark = [pytest.mark.integration, pytest.mark.real]

DOCUMENTS = Path(str(files("ruvllm") / "demo" / "docs"))


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory, minilm_dir: Path, smollm2_dir: Path) -> Iterator[ruvllm.RuvLLM]:
    with ruvllm.open(tmp_path_factory.mktemp("brain")) as llm:
        report = llm.ingest(DOCUMENTS)
        assert not report.failures
        yield llm


def test_end_to_end_query(brain: ruvllm.RuvLLM) -> None:
    response = brain.ask("Who founded Tern Point Station?")
    assert "Solheim" in response.text
    assert response.confidence is not None and 0 < response.confidence <= 1
    assert response.finish_reason == "stop"
    assert [s.source for s in response.sources if s.used] and response.sources[0].source.endswith("station.md")
    assert response.route.decided_by == "default"


@pytest.mark.parametrize(
    ("question", "answer"),
    list(zip(QUESTIONS, ("Solheim", "hut three", "terns attack", "8,000 years", "three short blasts"), strict=True)),
)
def test_demo_questions_are_answered_from_the_documents(brain: ruvllm.RuvLLM, question: str, answer: str) -> None:
    assert answer in brain.ask(question).text


@pytest.mark.parametrize(
    ("question", "excused"), [("Who founded Tern Point Station?", False), ("Who is the mayor of Oslo?", True)]
)
def test_an_unsure_reader_gives_way_to_a_passage(brain: ruvllm.RuvLLM, question: str, excused: bool) -> None:
    section = brain.config.generation
    unsure = msgspec.structs.replace(section, min_confidence=1.0)
    with ruvllm.open(
        brain.path, config=msgspec.structs.replace(brain.config, generation=unsure), read_only=True
    ) as llm:
        response = llm.ask(question)
    assert response.finish_reason == "extract" and response.draft
    assert response.text.startswith("I cannot answer") == excused


def test_who_asks_what_no_document_says_is_told(brain: ruvllm.RuvLLM) -> None:
    told = [any(warning.startswith("judge: ") for warning in brain.ask(question).warnings) for question in QUESTIONS]
    assert told == [False] * len(QUESTIONS)
    assert brain.ask("What is the capital of France?").warnings == ("judge: the sources seem to hold no answer",)


def test_the_reader_is_loaded_once_and_given_back_after_every_answer(brain: ruvllm.RuvLLM) -> None:
    for question in QUESTIONS[:2]:
        brain.ask(question)
    stats = brain.pool.stats()
    assert (stats.loads, stats.evictions) == (1, 0) and stats.hits >= 1
    assert [(m.tier, m.users) for m in stats.loaded] == [("smollm2-135m", 0)]


def test_stream_gives_the_text_of_the_response(brain: ruvllm.RuvLLM) -> None:
    stream = brain.stream("Who founded Tern Point Station?")
    assert "".join(stream).strip() == stream.response.text


def test_every_request_and_feedback_is_read_back_after_reopening(
    tmp_path: Path, minilm_dir: Path, smollm2_dir: Path
) -> None:
    with ruvllm.open(tmp_path / "b") as llm:
        llm.ingest(DOCUMENTS / "safety.md")
        response = llm.ask("Where is the rescue sled kept?", session="alice")
        llm.feedback(response.id, rating=5)
    with ruvllm.open(tmp_path / "b") as llm:
        kept = llm.memory.interaction(response.id)
        assert (kept.query, kept.answer, kept.feedback) == (response.query, response.text, Feedback(rating=5))
        assert [t.query for t in llm.history("alice")] == [response.query]
        talk = {"type": ["Query", "Answer"]}
        hits = llm.retrieve("Where is the rescue sled kept?", filter=talk, session="alice")
        assert {h.node.type for h in hits} == {NodeType.QUERY, NodeType.ANSWER}
        assert llm.retrieve("Where is the rescue sled kept?", filter=talk, session="bob") == []
        answer = next(h.node for h in hits if h.node.type == NodeType.ANSWER)
        linked = {node.id for _, node in llm.memory.neighbours(answer.id)}
        assert {s.node_id for s in response.sources} <= linked


def test_a_correction_is_found_by_later_questions(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    with ruvllm.open(tmp_path / "b") as llm:
        llm.ingest(DOCUMENTS / "safety.md")
        response = llm.ask("Who checks the sled?")
        llm.feedback(response.id, correction="Mathilde Aas checks the sled.")
        assert "Mathilde" in llm.retrieve("Who checks the sled?", 3)[0].node.text


def test_aask_is_the_same_answer(brain: ruvllm.RuvLLM) -> None:
    question = "Why is flying drones forbidden?"

    async def both() -> list[str]:
        answers = await asyncio.gather(brain.aask(question), brain.aask(question))
        return [a.text for a in answers]

    assert asyncio.run(both()) == [brain.ask(question).text] * 2


def test_without_a_reader_the_best_passage_is_quoted(tmp_path: Path, minilm_dir: Path) -> None:
    with ruvllm.open(tmp_path / "b", model="lfm2-350m") as llm:
        llm.ingest(DOCUMENTS / "safety.md")
        response = llm.ask("Where is the rescue sled kept?")
    assert response.finish_reason == "extract"
    assert "hut three" in response.text
    assert response.confidence is None and response.warnings


def test_an_unsure_reader_is_replaced_by_the_best_passage(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    config = load_config(overrides={"generation": {"min_confidence": 1.0}})
    with ruvllm.open(tmp_path / "b", config=config) as llm:
        llm.ingest(DOCUMENTS / "safety.md")
        response = llm.ask("Where is the rescue sled kept?")
    assert response.finish_reason == "extract" and response.draft
    assert "hut three" in response.text
    assert any("not sure" in warning for warning in response.warnings)


def test_a_closed_stream_records_nothing(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    with ruvllm.open(tmp_path / "b") as llm:
        llm.ingest(DOCUMENTS / "safety.md")
        stream = llm.stream(
            "What does the rescue sled carry?", session="alice", options=GenerationOptions(max_new_tokens=100)
        )
        next(stream)
        stream.close()
        stream.close()
        llm.flush()
        assert llm.history("alice") == []
        assert llm.ask("What does the rescue sled carry?", session="alice").text  # the session is free again


def test_answers_survive_being_written_as_json(brain: ruvllm.RuvLLM) -> None:
    response = brain.ask("How many beds are there for visitors?")
    assert msgspec.json.decode(msgspec.json.encode(response))["id"] == response.id


@pytest.mark.parametrize("question", ["", "   ", "x" * 20_001, "lone \ud800 surrogate"])
def test_bad_questions_are_refused_by_name(brain: ruvllm.RuvLLM, question: str) -> None:
    with pytest.raises(ValueError, match="query"):
        brain.ask(question)


def test_a_question_longer_than_the_context_is_refused(brain: ruvllm.RuvLLM) -> None:
    with pytest.raises(ValueError, match="query is too long"):
        brain.ask("why is the ice old and cold " * 600)
