"""A conversation with the real reader: a later turn knows the earlier ones, and does not read them all again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ruvllm
from ruvllm.config import Config, GenerationConfig, ModelsConfig
from ruvllm.inference import complete, open_engine
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.inference.session_cache import SessionCache
from ruvllm.types import GenerationOptions, Message

pytestmark = [pytest.mark.real, pytest.mark.integration]

ABOUT = ["The rescue sled is kept in hut three.", "Jonas Vik repairs the radios.", "Bread is baked on Fridays."]


@pytest.fixture
def config(minilm_dir: Path, smollm2_dir: Path, models_config: ModelsConfig) -> Config:
    """The real models; whatever the reader says is its answer, however unsure it is."""
    return Config(models=models_config, generation=GenerationConfig(model=str(smollm2_dir), min_confidence=0.0))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each prompt so far: tokens that were in the reader's cache, and all of its tokens."""
    counts: list[tuple[int, int]] = []
    take = SessionCache.take

    def counted(cache: SessionCache, prompt: Any) -> Any:
        session = take(cache, prompt)
        counts.append((session.length, len(prompt)))
        return session

    monkeypatch.setattr(SessionCache, "take", counted)
    return counts


def test_multi_turn_context(tmp_path: Path, config: Config, taken: list[tuple[int, int]]) -> None:
    with ruvllm.open(tmp_path / "brain", config=config) as llm:
        first = llm.ask("My dog is called Bruno.", session="alice")
        second = llm.ask("What is my dog called?", session="alice")
        stranger = llm.ask("What is my dog called?")
    assert "Bruno" in second.text and "Bruno" not in stranger.text
    assert taken[1][0] >= first.prompt_tokens  # no source was shown: what was sent is a beginning of the next prompt


def test_of_earlier_turns_only_the_last_is_read_again(
    tmp_path: Path, config: Config, taken: list[tuple[int, int]]
) -> None:
    with ruvllm.open(tmp_path / "brain", config=config) as llm:
        llm.ingest(ABOUT)
        for question in ("Where is the rescue sled kept?", "Who repairs the radios?", "When is bread baked?"):
            assert llm.ask(question, session="alice").sources
    (nothing, _), (second, _), (third, prompt) = taken
    assert nothing == 0 < second < third and third > prompt // 2


def test_a_conversation_that_goes_on_is_not_read_again(smollm2_dir: Path, models_config: ModelsConfig) -> None:
    engine = open_engine(str(smollm2_dir), GenerationConfig(), models_config)
    assert isinstance(engine, RuntimeEngine)
    talk = [Message("system", "You are a helpful assistant."), Message("user", "I live in Paris.")]
    first = complete(engine, talk, GenerationOptions(max_new_tokens=24))
    talk += [Message("assistant", first.text), Message("user", "In which city do I live?")]
    (kept,) = engine._open().sessions._idle
    known = kept.tokens().tolist()
    second = complete(engine, talk, GenerationOptions(max_new_tokens=24))
    assert "Paris" in second.text
    assert engine._template.encode(talk)[: len(known)] == known  # so all of the first turn was there
    assert engine._open().sessions._idle == [kept] and kept.length > len(known)
    engine.close()
